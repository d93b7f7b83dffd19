"""Many clients at once, and among many who do not behave."""

import os
import socket
import threading
import unittest

import client_v1_1
import harness
import samples

CLIENTS = 20
ROUNDS = 3
SILENT = 200
GARBAGE = 50


class Crowds(harness.Case):
    """Mixed operations and versions; every result is decoded."""

    def setUp(self):
        super().setUp()
        harness.raise_fd_limit()

    def client(self, address, number, failures):
        """One client: all operations, beginning with one of its own."""
        work = list(samples.every_conversion())
        start = number % len(work)
        work = (work[start:] + work[:start]) * ROUNDS
        try:
            if number % 2:
                for name, operation, body, judge in work:
                    judge(self.convert_v1(address, operation, body))
            else:
                with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
                    for name, operation, body, judge in work:
                        judge(connection.convert(operation, body, id=f"client-{number}"))
        except Exception as error:
            failures.append(f"client {number}, {name}: {error!r}")

    def run_clients(self, address):
        """All clients at once; each must have all of its results."""
        failures = []
        threads = [
            threading.Thread(target=self.client, args=(address, number, failures), daemon=True)
            for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10 * harness.PATIENCE_S)
            self.assertFalse(thread.is_alive(), "a client still waits for its results")
        self.assertEqual(failures, [])

    def open_plain(self, address):
        """A connection that will not behave, closed with the test."""
        connection = socket.create_connection(address, timeout=harness.PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    def test_20_clients_at_once(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, _, address = self.start_tiers(io)
                self.run_clients(address)

    def test_20_clients_among_200_that_are_silent_and_50_that_send_garbage(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                # Connections between the two are kept, and soon given up where nobody needs them.
                worker, master, address = self.start_tiers(
                    io, master_args=("--worker-idle-timeout", "1s"))
                fds = [len(server.fds()) for server in (worker, master)]
                bad = [self.open_plain(address) for _ in range(SILENT)]
                for number in range(GARBAGE):
                    connection = self.open_plain(address)
                    # Of every kind: no TLS at all, and what looks like TLS in its first bytes.
                    start = (b"", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00", b"GET / HTTP/1.1\r\n")
                    connection.sendall(start[number % 4] + os.urandom(1000))
                    bad.append(connection)
                self.run_clients(address)
                for connection in bad:
                    connection.close()
                for server, before in zip((worker, master), fds):
                    harness.eventually(
                        f"the {server.name} is back at {before} descriptors",
                        lambda server=server, before=before: len(server.fds()) <= before)


if __name__ == "__main__":
    unittest.main()
