"""SIGTERM drains, SIGINT ends at once, both with exit code 0; and an address is taken once."""

import signal
import socket
import ssl
import time
import unittest

import client_v1
import client_v1_1
import harness
import samples

#: An end at once: what an orderly process takes for it on a busy machine.
AT_ONCE_S = 5


class Signals(harness.Case):
    """Each is sent while a request is half on its way."""

    def half_a_request(self, address):
        """A connection with the first half of a request, which is with the worker already."""
        stream = client_v1.connect(address, self.context)
        self.addCleanup(stream.close)
        wire = self.request()
        stream.sendall(wire[:len(wire) // 2])
        harness.eventually(
            "the request is with the worker", lambda: b"in_flight=1" in
            self.convert_v1_1(address, client_v1_1.STATUS, b""))
        return stream

    @staticmethod
    def request():
        """A request of v1.0 whose body is longer than its header."""
        body = samples.PICTURES["png"]
        return client_v1.request_header(body, client_v1.TO_JPG, harness.TOKEN) + body

    def finish(self, stream):
        """The second half, and the answer."""
        wire = self.request()
        stream.sendall(wire[len(wire) // 2:])
        samples.check_picture(client_v1.read_answer(stream), "jpg")

    @staticmethod
    def refuses(address):
        """Whether nobody listens any more."""
        try:
            socket.create_connection(address, timeout=5).close()
        except ConnectionError:
            return True
        return False

    def test_sigterm_drains_a_master(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                stream = self.half_a_request(address)
                master.signal(signal.SIGTERM)
                harness.eventually("the master stops accepting", lambda: self.refuses(address))
                self.assertIsNone(master.process.poll(), "it waits for the request")
                self.finish(stream)
                stream.close()
                self.assertEqual(master.wait(AT_ONCE_S), 0)

    def test_sigterm_drains_a_worker(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, _, address = self.start_tiers(io)
                stream = self.half_a_request(address)
                worker.signal(signal.SIGTERM)
                harness.eventually(
                    "the worker stops accepting", lambda: self.refuses(worker.address()))
                self.finish(stream)
                self.assertEqual(worker.wait(AT_ONCE_S), 0)

    def test_sigterm_does_not_wait_for_clients_between_requests(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                with client_v1_1.Connection(address, self.context, harness.TOKEN) as idle:
                    idle.convert(client_v1.TO_PNG, samples.JPG)
                    master.signal(signal.SIGTERM)
                    self.assertEqual(master.wait(AT_ONCE_S), 0)
                    self.check_orderly_end(idle.stream)

    def test_sigterm_does_not_wait_for_clients_that_have_sent_nothing(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                with client_v1.connect(address, self.context) as silent:
                    master.signal(signal.SIGTERM)
                    self.assertEqual(master.wait(AT_ONCE_S), 0)
                    self.check_orderly_end(silent)

    def test_sigterm_does_not_wait_for_handshakes_that_do_not_begin(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                with socket.create_connection(address) as silent:
                    harness.eventually(
                        "the connection is accepted", lambda: master.holds(silent))
                    master.signal(signal.SIGTERM)
                    self.assertEqual(master.wait(AT_ONCE_S), 0)

    def check_orderly_end(self, stream):
        """Raises unless the connection ends by close_notify."""
        try:
            self.assertEqual(stream.recv(1), b"")
        except (ssl.SSLError, ConnectionError) as error:
            self.fail(f"an idle connection is ended without close_notify: {error!r}")

    def test_grace_ends_a_drain(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io, master_args=("--grace", "1s"))
                self.half_a_request(address)
                started = time.monotonic()
                master.signal(signal.SIGTERM)
                self.assertEqual(master.wait(1 + AT_ONCE_S), 0)
                self.assertGreater(time.monotonic() - started, 0.9, "the grace was given")

    def test_sigint_ends_at_once(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(io)
                self.half_a_request(address)
                for server in (master, worker):
                    server.signal(signal.SIGINT)
                    self.assertEqual(server.wait(AT_ONCE_S), 0)

    def test_a_second_signal_ends_a_drain_at_once(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                self.half_a_request(address)
                master.signal(signal.SIGTERM)
                harness.eventually("the master stops accepting", lambda: self.refuses(address))
                master.signal(signal.SIGTERM)
                self.assertEqual(master.wait(AT_ONCE_S), 0)


class Addresses(harness.Case):
    """One process an address."""

    def test_a_second_server_on_the_same_port_is_refused(self):
        for io in harness.DRIVERS:
            worker, master, (host, port) = self.start_tiers(io)
            for role in ("master", "worker"):
                with self.subTest(io=io, role=role):
                    args = ("--token-file", self.token_file, "--worker", "127.0.0.1:1")
                    done = harness.run(
                        role, "--listen", f"{host}:{port}", "--certs", self.certs, "--io", io,
                        *(args if role == "master" else ()), check=False)
                    self.assertGreater(done.returncode, 0)
                    self.assertIn(f"error: cannot listen on {host}:{port}", done.stderr.decode())
                    self.assertIn("in use", done.stderr.decode())
            self.convert_v1((host, port), client_v1.TO_PNG, samples.JPG)

    def test_a_port_is_free_again_after_the_end(self):
        worker, master, (host, port) = self.start_tiers()
        self.convert_v1((host, port), client_v1.TO_PNG, samples.JPG)
        master.end()
        again = self.start_on(worker, f"{host}:{port}")
        self.assertEqual(again.address(), (host, port))
        self.convert_v1((host, port), client_v1.TO_PNG, samples.JPG)

    def start_on(self, worker, listen):
        """A master on an address of choice."""
        worker_host, worker_port = worker.address()
        return self.start(
            "master", "--listen", listen, "--certs", self.certs, "--token-file", self.token_file,
            "--worker", f"{worker_host}:{worker_port}")


if __name__ == "__main__":
    unittest.main()
