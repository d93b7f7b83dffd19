"""The vectors of v1.0, byte by byte, against the running service on both drivers.

Each is a request: version, token, checksum, name, size and operation, then the body; and what must
be answered: the bytes that a result starts with, or the name of an error. All bytes are written
out, so that nothing that this suite computes can hide a mistake.
"""

import unittest

import client_v1
import harness

#: The token in the headers.
TOKEN = "super_secret_token_123456789012"

#: `(name, header, body, start of the result or None, error or None)`.
VECTORS = (
    (
        "txt-to-pdf",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "6f5902ac237024bdd0c176cb93063dc4"
        "68656c6c6f2e747874000000000000000000000000000000000000000000"
        "000000000000000c"
        "00000004",
        "68656c6c6f20776f726c640a",
        "255044462d", None,
    ),
    (
        "wrong-op-for-text",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "6f5902ac237024bdd0c176cb93063dc4"
        "68656c6c6f2e747874000000000000000000000000000000000000000000"
        "000000000000000c"
        "00000001",
        "68656c6c6f20776f726c640a",
        None, "WRONG_TYPE",
    ),
    (
        "bad-version",
        "76322e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "00000004",
        "78",
        None, "BAD_VERSION",
    ),
    (
        "bad-token",
        "76312e30"
        "6e6f706500000000000000000000000000000000000000000000000000000000"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "00000004",
        "78",
        None, "UNAUTHORIZED",
    ),
    (
        "token-with-nul-either-side",
        "76312e30"
        "0073757065725f7365637265745f746f6b656e5f313233343536373839303132"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "00000004",
        "78",
        "255044462d", None,
    ),
    (
        "bad-op-6",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "00000006",
        "78",
        None, "BAD_OPERATION",
    ),
    (
        "op-written-little-endian",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "04000000",
        "78",
        None, "BAD_OPERATION",
    ),
    (
        "bad-checksum",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "00000000000000000000000000000000"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "00000004",
        "78",
        None, "CHECKSUM_MISMATCH",
    ),
    (
        "everything-wrong-version-wins",
        "76392e39"
        "6e6f706500000000000000000000000000000000000000000000000000000000"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "0000004d",
        "78",
        None, "BAD_VERSION",
    ),
    (
        "token-wins-over-op",
        "76312e30"
        "6e6f706500000000000000000000000000000000000000000000000000000000"
        "9dd4e461268c8034f5c8564e155c67a6"
        "612e74787400000000000000000000000000000000000000000000000000"
        "0000000000000001"
        "0000004d",
        "78",
        None, "UNAUTHORIZED",
    ),
    (
        "name-is-a-path",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "401b30e3b8b5d629635a5c613cdb7919"
        "2e2e2f2e2e2f6574632f7061737377640000000000000000000000000000"
        "0000000000000002"
        "00000004",
        "780a",
        "255044462d", None,
    ),
    (
        "name-cut-in-a-character",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "401b30e3b8b5d629635a5c613cdb7919"
        "7878787878787878787878787878787878787878787878787878787878c3"
        "0000000000000002"
        "00000004",
        "780a",
        "255044462d", None,
    ),
    (
        "unknown-binary",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "16f404156c0500ac48efa2d3abc5fbcf"
        "612e62696e00000000000000000000000000000000000000000000000000"
        "0000000000000080"
        "00000001",
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7"
        "a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
        "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7"
        "f8f9fafbfcfdfeff",
        None, "UNKNOWN_TYPE",
    ),
    (
        "pdf-with-image-op",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "6446a98080f5e51ab7f0abc0e8eda635"
        "612e70646600000000000000000000000000000000000000000000000000"
        "0000000000000009"
        "00000001",
        "255044462d312e340a",
        None, "WRONG_TYPE",
    ),
    (
        "pdf-garbage",
        "76312e30"
        "73757065725f7365637265745f746f6b656e5f31323334353637383930313200"
        "4ac92ef0d47fb94dc272123de82d45ce"
        "612e70646600000000000000000000000000000000000000000000000000"
        "0000000000000011"
        "00000005",
        "255044462d312e340a676172626167650a",
        None, "MALFORMED_INPUT",
    ),
)


class Vectors(harness.Case):
    """Every expectation of every vector, in one send and cut in awkward places."""

    def setUp(self):
        super().setUp()
        self.token_file.write_text(TOKEN)

    def check(self, address, cuts, vector):
        """Sends a vector in parts, and holds the answer against it."""
        _, header, body, starts, code = vector
        wire = bytes.fromhex(header) + bytes.fromhex(body)
        with client_v1.connect(address, self.context) as stream:
            for start, end in zip((0, *cuts), (*cuts, len(wire))):
                stream.sendall(wire[start:end])
            answer = client_v1.read_answer(stream)
        error = client_v1.parse_error(answer)
        if code is None:
            self.assertIsNone(error)
            self.assertTrue(answer.startswith(bytes.fromhex(starts)), answer[:40])
        else:
            self.assertIsNotNone(error, answer[:40])
            self.assertEqual(error.code, code)
            self.assertTrue(error.message, "an error has a message")

    def test_every_vector(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            for cuts in ((), (94,), (1, 4, 36, 52, 82, 90, 93)):
                for vector in VECTORS:
                    with self.subTest(io=io, vector=vector[0], cuts=cuts):
                        self.check(address, cuts, vector)

    def test_every_vector_at_a_worker_without_a_master(self):
        for io in harness.DRIVERS:
            worker = self.start_worker(
                "--io", io, "--client-auth", "none", "--token-file", self.token_file)
            for vector in VECTORS:
                with self.subTest(io=io, vector=vector[0]):
                    self.check(worker.address(), (), vector)


if __name__ == "__main__":
    unittest.main()
