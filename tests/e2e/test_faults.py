"""Workers that fail at every stage, and clients that are slow at every stage."""

import socket
import unittest

import client_v1
import client_v1_1
import harness
import samples
import standins

ANSWER_BYTES = 1_000_000
TRIES = 5

#: The shortest time that a flag is set to here, and when its effect must show.
SHORT = "1s"


class FaultyWorker(standins.StandIn):
    """A v1.0 worker that leaves at the stage in `self.stage`, without or with close_notify."""

    stage, is_orderly = "", False

    def handle(self, stream):
        if self.stage != "before the header":
            size = client_v1.HEADER.unpack(
                client_v1.read_exact(stream, client_v1.HEADER.size))[4]
            client_v1.read_exact(stream, size // 2 if self.stage == "in the body" else size)
        if self.stage == "in the length":
            stream.sendall(bytes(4))
        if self.stage == "in the answer":
            stream.sendall(client_v1.LENGTH.pack(ANSWER_BYTES) + bytes(ANSWER_BYTES // 2))
        if not self.is_orderly:
            raise ConnectionAbortedError(self.stage)


class Workers(harness.Case):
    """A worker that leaves is WORKER_FAILED, or a cut where the answer has begun."""

    def setUp(self):
        super().setUp()
        self.worker = FaultyWorker(self.certs)
        self.addCleanup(self.worker.__exit__)

    def masters(self):
        """A master on each driver, and the fds that it is to come back to."""
        for io in harness.DRIVERS:
            served = len(self.worker.threads)
            master = self.start_master(
                self.worker.address, "--worker-wire", "v1.0", "--worker-insecure", "--io", io)
            master.address()
            # What looks after the workers has descriptors of its own, and begins beside the rest.
            harness.eventually(
                "it looks at the worker", lambda served=served: len(self.worker.threads) > served)
            yield io, master, len(master.fds())

    def check_fds(self, master, before):
        """Waits until no connection is left."""
        harness.eventually(
            f"the master is back at {before} descriptors", lambda: len(master.fds()) <= before)

    def test_before_the_answer(self):
        body = b"word " * 100_000
        for io, master, fds in self.masters():
            for stage in ("before the header", "in the body", "before the answer",
                          "in the length"):
                for self.worker.is_orderly in (False, True):
                    self.worker.stage = stage
                    with self.subTest(io=io, stage=stage, orderly=self.worker.is_orderly):
                        for _ in range(TRIES):
                            with self.assertRaises(client_v1.ServerError) as caught:
                                self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, body)
                            self.assertEqual(caught.exception.code, "WORKER_FAILED")
            self.check_fds(master, fds)

    def test_in_the_answer(self):
        self.worker.stage = "in the answer"
        for io, master, fds in self.masters():
            for self.worker.is_orderly in (False, True):
                with self.subTest(io=io, orderly=self.worker.is_orderly):
                    for _ in range(TRIES):
                        with self.assertRaises(client_v1.CutAnswer):
                            self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, b"x")
            self.check_fds(master, fds)

    def test_convert_leaves_no_half_a_file(self):
        self.worker.stage = "in the answer"
        (self.dir / "a.txt").write_text("some words\n")
        for _, master, _ in self.masters():
            host, port = master.address()
            before = sorted(self.dir.glob("*.*"))
            done = harness.run(
                "convert", self.dir / "a.txt", "--to", "pdf", "--server", f"{host}:{port}",
                "--ca", self.certs / "ca.pem", "--token-file", self.token_file, check=False)
            self.assertIn(done.returncode, (1, 3), done.stderr)
            self.assertRegex(done.stderr.decode(), "error: .*a.txt")
            self.assertEqual(sorted(self.dir.glob("*.*")), before)


class SlowClients(harness.Case):
    """Each deadline ends what it is for, and nothing else."""

    def check_end(self, stream, orderly):
        """Waits for the end of a connection that has nothing more to say."""
        try:
            self.assertEqual(stream.recv(1), b"")
        except OSError:
            self.assertFalse(orderly, "an orderly end was due")

    def test_a_handshake_that_does_not_begin(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io, (), ("--handshake-timeout", SHORT))
            with self.subTest(io=io), socket.create_connection(address, timeout=10) as silent:
                self.check_end(silent, orderly=True)

    def test_half_a_header(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io, (), ("--header-timeout", SHORT))
            for sent in (0, 1, 93):
                with self.subTest(io=io, sent=sent):
                    with client_v1.connect(address, self.context, 10) as stream:
                        stream.sendall(client_v1.request_header(b"", 1, harness.TOKEN)[:sent])
                        self.check_end(stream, orderly=False)

    def test_an_idle_connection_is_ended_in_order(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io, (), ("--idle-timeout", SHORT))
            with self.subTest(io=io):
                with client_v1_1.Connection(address, self.context, harness.TOKEN) as idle:
                    idle.convert(client_v1.TO_PNG, samples.JPG)
                    self.check_end(idle.stream, orderly=True)

    def test_a_body_that_stalls_is_answered_with_timeout(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io, (), ("--stall-timeout", SHORT))
            with self.subTest(io=io), client_v1.connect(address, self.context) as stream:
                stream.sendall(client_v1.request_header(
                    bytes(1000), client_v1.TO_JPG, harness.TOKEN) + bytes(500))
                error = client_v1.parse_error(client_v1.read_answer(stream))
                self.assertEqual(error.code, "TIMEOUT")
                self.assertIn("500 bytes still to come", error.message)

    def test_slow_readers_hold_up_nobody_and_lose_nothing(self):
        noise = (value & 0xFF for value in samples.pseudo_random(1000 * 1000 * 3))
        body = samples.png(1000, 1000, lambda x, y: (next(noise), next(noise), next(noise)))
        request = client_v1.request_header(body, client_v1.TO_PNG, harness.TOKEN) + body
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, _, address = self.start_tiers(io)
                slow = []
                for _ in range(5):
                    stream = client_v1.connect(address, self.context)
                    self.addCleanup(stream.close)
                    stream.sendall(request)
                    slow.append(stream)
                for _ in range(20):
                    samples.check_picture(
                        self.convert_v1(address, client_v1.TO_JPG, samples.WEBP), "jpg")
                for stream in slow:
                    answer = client_v1.read_answer(stream)
                    self.assertEqual(samples.picture_header(answer), ("png", 1000, 1000))
                    self.assertGreater(len(answer), 2_900_000)


if __name__ == "__main__":
    unittest.main()
