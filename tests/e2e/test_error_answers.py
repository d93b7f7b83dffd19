"""An error answer arrives whole, also where the client is still sending when it is given.

A server that closes with unread bytes makes the kernel send RST, and the client loses the answer
that was on its way. Each case is tried 40 times, and 40 answers must come, each with its orderly
end.
"""

import unittest

import client_v1
import client_v1_1
import harness
import samples

TRIES = 40
BODY = bytes(range(32, 100))
LARGE_BODY = bytes(1_000_000)


def bad_token_with_the_body_in_a_second_send(stream):
    stream.sendall(client_v1.request_header(BODY, client_v1.TEXT_TO_PDF, "wrong"))
    stream.sendall(BODY)


def bad_version(stream):
    header = client_v1.request_header(
        BODY, client_v1.TEXT_TO_PDF, harness.TOKEN, version=b"v9.9")
    stream.sendall(header + BODY)


def bad_operation(stream):
    stream.sendall(client_v1.request_header(BODY, 77, harness.TOKEN) + BODY)


def bad_token_with_a_large_body(stream):
    header = client_v1.request_header(LARGE_BODY, client_v1.TEXT_TO_PDF, "wrong")
    stream.sendall(header + LARGE_BODY)


def size_0_with_a_body(stream):
    # The checksum is that of the body, as a client would send it that only gets the size wrong.
    header = client_v1.request_header(BODY, client_v1.TEXT_TO_PDF, harness.TOKEN, size=0)
    stream.sendall(header)
    stream.sendall(BODY)


CASES = (
    (bad_token_with_the_body_in_a_second_send, "UNAUTHORIZED"),
    (bad_version, "BAD_VERSION"),
    (bad_operation, "BAD_OPERATION"),
    (bad_token_with_a_large_body, "UNAUTHORIZED"),
    (size_0_with_a_body, "CHECKSUM_MISMATCH"),
)


class ErrorAnswers(harness.Case):
    """40 of 40, for each case, on each driver, from master and from worker."""

    def check(self, address, case, code):
        """Tries `case`, and counts what became of it."""
        outcomes = {}
        for _ in range(TRIES):
            with client_v1.connect(address, self.context) as stream:
                try:
                    case(stream)
                    error = client_v1.parse_error(client_v1.read_answer(stream))
                    outcome = error.code if error else "a result"
                except (OSError, client_v1.CutAnswer) as error:
                    outcome = f"lost: {error}"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        self.assertEqual(outcomes, {code: TRIES})

    def test_master(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            for case, code in CASES:
                with self.subTest(io=io, case=case.__name__):
                    self.check(address, case, code)
            with self.subTest(io=io, case="the next request"):
                samples.check_picture(
                    self.convert_v1(address, client_v1.TO_JPG, samples.WEBP), "jpg")

    def test_worker_without_a_master(self):
        for io in harness.DRIVERS:
            worker = self.start_worker(
                "--io", io, "--client-auth", "none", "--token-file", self.token_file)
            for case, code in CASES:
                with self.subTest(io=io, case=case.__name__):
                    self.check(worker.address(), case, code)


class ErrorsOnTheWay(harness.Case):
    """Errors that are found later than in the header."""

    def test_no_worker(self):
        for io in harness.DRIVERS:
            worker, _, address = self.start_tiers(io)
            worker.end()
            for _ in range(5):
                with self.subTest(io=io), self.assertRaises(client_v1.ServerError) as caught:
                    self.convert_v1(address, client_v1.TEXT_TO_PDF, LARGE_BODY)
                self.assertEqual(caught.exception.code, "NO_WORKER")

    def test_too_large(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io, master_args=("--max-body", "100000"))
            with self.subTest(io=io), self.assertRaises(client_v1.ServerError) as caught:
                self.convert_v1(address, client_v1.TEXT_TO_PDF, LARGE_BODY)
            self.assertEqual(caught.exception.code, "TOO_LARGE")
            self.assertIn("900000 over the limit of 100000", caught.exception.message)

    def test_a_worker_that_dies_while_the_body_comes(self):
        for io in harness.DRIVERS:
            worker, _, address = self.start_tiers(io)
            header = client_v1.request_header(
                LARGE_BODY, client_v1.TEXT_TO_PDF, harness.TOKEN)
            with self.subTest(io=io), client_v1.connect(address, self.context) as stream:
                stream.sendall(header + LARGE_BODY[:500_000])
                harness.eventually(
                    "the request is with the worker", lambda: b"in_flight=1" in
                    self.convert_v1_1(address, client_v1_1.STATUS, b""))
                worker.kill()
                stream.sendall(LARGE_BODY[500_000:])
                error = client_v1.parse_error(client_v1.read_answer(stream))
                self.assertEqual(error.code, "WORKER_FAILED")


if __name__ == "__main__":
    unittest.main()
