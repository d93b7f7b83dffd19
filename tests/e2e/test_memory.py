"""Memory and descriptors return to where they were, and a header costs nothing."""

import contextlib
import resource
import socket
import struct
import unittest
from pathlib import Path

import client_v1
import client_v1_1
import harness
import samples

MIB = 1024 * 1024

#: Allocators keep some of what they had, and the first requests of a kind load tables and fonts.
RSS_TOLERANCE = 8 * MIB

#: What a body's first allocation, TLS and a connection may take: 1 MiB, and some.
HEADER_COST = 4 * MIB


class Memory(harness.Case):
    """Measured from outside, in /proc: a worker with the processes that convert for it."""

    def test_a_header_that_announces_500_mb_costs_nothing(self):
        size = 500_000_000
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(io)
            self.convert_v1(address, client_v1.TEXT_TO_PDF, b"warm\n")
            for version in ("v1.0", "v1.1"):
                with self.subTest(io=io, version=version):
                    before = [server.memory_bytes() for server in (worker, master)]
                    with client_v1.connect(address, self.context) as stream:
                        stream.sendall(client_v1.request_header(
                            b"", client_v1.TO_JPG, harness.TOKEN, size=size,
                            version=version.encode()) + b"\xff\xd8\xff")
                        harness.eventually(
                            "the request is with the worker", lambda: b"in_flight=1" in
                            self.convert_v1_1(address, client_v1_1.STATUS, b""))
                        after = [server.memory_bytes() for server in (worker, master)]
                    grown = [b - a for a, b in zip(before, after)]
                    self.assertLess(max(grown), HEADER_COST, f"worker and master grew by {grown}")

    def test_a_master_has_no_huge_page_and_its_processes_for_conversions_may(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(io)
                self.convert_v1(address, client_v1.TEXT_TO_PDF, b"warm\n")
                self.assertEqual(master.may_have_huge_pages(), False)
                self.assertEqual(worker.may_have_huge_pages(), True)
                rollup = Path(f"/proc/{master.pid}/smaps_rollup").read_text()
                [huge] = [line for line in rollup.splitlines() if line.startswith("AnonHugePages:")]
                self.assertEqual(huge.split()[1], "0", rollup)

    def test_100_conversions_leave_descriptors_and_memory_where_they_were(self):
        work = list(samples.every_conversion())
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(io)

                def convert(total):
                    for number in range(total):
                        _, operation, body, judge = work[number % len(work)]
                        one = self.convert_v1_1 if number % 3 else self.convert_v1
                        judge(one(address, operation, body))

                def settled():
                    return b"in_flight=0" in self.convert_v1_1(
                        address, client_v1_1.STATUS, b"")
                convert(len(work) * 2)
                harness.eventually("the warm-up is over", settled)
                fds = [len(server.fds()) for server in (worker, master)]
                rss = [server.memory_bytes() for server in (worker, master)]
                convert(100)
                for server, before in zip((worker, master), fds):
                    harness.eventually(
                        f"the {server.name} is back at {before} descriptors",
                        lambda server=server, before=before: len(server.fds()) <= before)
                grown = [
                    server.memory_bytes() - before
                    for server, before in zip((worker, master), rss)]
                self.assertLess(max(grown), RSS_TOLERANCE, f"worker and master grew by {grown}")

    def test_clients_that_leave_in_the_middle_leave_nothing(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(io)
                self.convert_v1(address, client_v1.TO_PNG, samples.JPG)
                fds = [len(server.fds()) for server in (worker, master)]
                for number in range(60):
                    body = bytes(200_000)
                    header = client_v1.request_header(body, client_v1.TO_PNG, harness.TOKEN)
                    wire = header + body
                    stream = client_v1.connect(address, self.context)
                    stream.sendall(wire[:(1, 50, 94, 100, 50_000, 200_094)[number % 6]])
                    if number % 2:
                        reset(stream)
                    else:
                        stream.close()
                for server, before in zip((worker, master), fds):
                    harness.eventually(
                        f"the {server.name} is back at {before} descriptors",
                        lambda server=server, before=before: len(server.fds()) <= before)
                # The first count of descriptors may have seen a connection that was still closing.
                harness.eventually(
                    "no request is in flight",
                    lambda address=address: b"in_flight=0" in self.convert_v1_1(
                        address, client_v1_1.STATUS, b""))
                samples.check_picture(
                    self.convert_v1(address, client_v1.TO_PNG, samples.JPG), "png")


def reset(stream):
    """Closes with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


class IdleConnections(harness.Case):
    """Connections that were served once and are silent."""

    #: As many as the limit of descriptors of this process allows.
    WANTED = 1000

    #: TLS' own state is most of it; 20 KB is what is promised of 10,000, where what a page more or less
    #: takes does not count.
    BYTES_EACH = 20_000
    PAGES = 2 * MIB

    def test_many_cost_little_and_all_are_answered_when_they_wake(self):
        harness.raise_fd_limit()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(self.WANTED, limit - 256)
        for io in harness.DRIVERS:
            with self.subTest(io=io), contextlib.ExitStack() as open_ones:
                _, master, address = self.start_tiers(io, master_args=("--idle-timeout", "600s"))

                def connect():
                    connection = client_v1_1.Connection(address, self.context, harness.TOKEN)
                    open_ones.enter_context(connection)
                    self.assertIn(b"role=master", connection.convert(client_v1_1.STATUS, b""))
                    return connection
                # What the first ones allocate for good is not the connections'.
                crowd = [connect() for _ in range(count // 10)]
                before = master.rss_bytes()
                crowd += [connect() for _ in range(count - len(crowd))]
                grown = master.rss_bytes() - before
                self.assertLess(grown, count * self.BYTES_EACH + self.PAGES, f"{count} connections")
                for connection in crowd:
                    samples.check_pdf(connection.convert(client_v1.TEXT_TO_PDF, b"awake\n"))


if __name__ == "__main__":
    unittest.main()
