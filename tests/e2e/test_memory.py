"""Memory and descriptors return to where they were, and a header costs nothing."""

import socket
import struct
import unittest

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
    """Measured from outside, in /proc."""

    def test_a_header_that_announces_500_mb_costs_nothing(self):
        size = 500_000_000
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(io)
            self.convert_v1(address, client_v1.TEXT_TO_PDF, b"warm\n")
            for version in ("v1.0", "v1.1"):
                with self.subTest(io=io, version=version):
                    before = [server.rss_bytes() for server in (worker, master)]
                    with client_v1.connect(address, self.context) as stream:
                        stream.sendall(client_v1.request_header(
                            b"", client_v1.TO_JPG, harness.TOKEN, size=size,
                            version=version.encode()) + b"\xff\xd8\xff")
                        harness.eventually(
                            "the request is with the worker", lambda: b"in_flight=1" in
                            self.convert_v1_1(address, client_v1_1.STATUS, b""))
                        after = [server.rss_bytes() for server in (worker, master)]
                    grown = [b - a for a, b in zip(before, after)]
                    self.assertLess(max(grown), HEADER_COST, f"worker and master grew by {grown}")

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
                rss = [server.rss_bytes() for server in (worker, master)]
                convert(100)
                for server, before in zip((worker, master), fds):
                    harness.eventually(
                        f"the {server.name} is back at {before} descriptors",
                        lambda server=server, before=before: len(server.fds()) <= before)
                grown = [
                    server.rss_bytes() - before for server, before in zip((worker, master), rss)]
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


if __name__ == "__main__":
    unittest.main()
