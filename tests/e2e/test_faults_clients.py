"""Clients that leave, at every stage and in every way; slow ones, silent ones, and halves."""

import socket
import ssl
import threading
import time
import unittest

import client_v1
import client_v1_1
import faults
import harness
import samples

TRIES = 4
SILENT = 2_000

#: As text to PDF it is several megabytes: more than the kernel takes of an answer that nobody reads.
LONG_TEXT = b" ".join(b"%d" % number for number in samples.pseudo_random(400_000))

ENDS = (faults.reset, faults.cut, faults.close_notify)


class Leaving(faults.Case):
    """Whoever leaves takes everything along that was held for it, and nobody else notices."""

    def request(self, body=faults.BODY, **options):
        """A request of v1.1."""
        return client_v1_1.request(body, client_v1.TEXT_TO_PDF, harness.TOKEN, options)

    def before_the_handshake(self, address):
        return socket.create_connection(address, timeout=harness.PATIENCE_S)

    def in_the_handshake(self, address):
        stream = self.before_the_handshake(address)
        # A ClientHello of 508 bytes, of which 100 come.
        stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(89))
        return stream

    def after_the_handshake(self, address):
        return client_v1.connect(address, self.context)

    def after(self, address, wire):
        """A connection that has sent `wire`."""
        stream = client_v1.connect(address, self.context)
        stream.sendall(wire)
        return stream

    def in_the_header(self, address):
        return self.after(address, self.request()[:50])

    def in_the_options(self, address):
        return self.after(address, self.request(id="someone")[:98])

    def after_the_header(self, address):
        return self.after(address, self.request()[:94])

    def in_the_body(self, address):
        return self.after(address, self.request(bytes(300_000))[:200_000])

    def before_the_answer(self, address):
        return self.after(address, self.request(LONG_TEXT))

    def in_the_answer(self, address):
        stream = self.before_the_answer(address)
        client_v1.read_exact(stream, 1000)
        return stream

    def between_requests(self, address):
        stream = self.after(address, self.request())
        head = client_v1.read_exact(stream, client_v1_1.ANSWER.size)
        client_v1.read_exact(stream, client_v1_1.ANSWER.unpack(head)[3])
        return stream

    STAGES = (
        before_the_handshake, in_the_handshake, after_the_handshake, in_the_header, in_the_options,
        after_the_header, in_the_body, before_the_answer, in_the_answer, between_requests)

    def test_clients_that_leave_at_every_stage(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(io)
            self.convert_v1_1(address, client_v1.TEXT_TO_PDF, faults.BODY)
            before = self.at_rest(worker, master)
            with self.traffic(address):
                for stage in self.STAGES:
                    for end in ENDS:
                        with self.subTest(io=io, stage=stage.__name__, end=end.__name__):
                            for _ in range(TRIES):
                                self.leave(stage(self, address), end)
            self.check_rest(before)

    @staticmethod
    def leave(stream, end):
        """Ends a connection; one without TLS has no close_notify to send."""
        has_tls = isinstance(stream, ssl.SSLSocket)
        (end if has_tls or end is not faults.close_notify else faults.cut)(stream)


class Halves(faults.Case):
    """A client that has sent its request, and says that it will send no more, has its answer."""

    class Half:
        """TLS over memory: Python's own socket waits for the other side's end in `unwrap`."""

        def __init__(self, address, context):
            self.socket = socket.create_connection(address, timeout=harness.PATIENCE_S)
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=address[0])
            self.until_done(self.tls.do_handshake)

        def until_done(self, step):
            """Repeats a step of TLS until it needs nothing from the socket."""
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    self.flush()
                    data = self.socket.recv(65536)
                    if not data:
                        raise client_v1.CutAnswer("the connection ended") from None
                    self.incoming.write(data)
                finally:
                    self.flush()

        def flush(self):
            if self.outgoing.pending:
                self.socket.sendall(self.outgoing.read())

        def sendall(self, data):
            self.tls.write(data)
            self.flush()

        def close_write(self):
            """Sends close_notify, and the end of the sending side below it."""
            try:
                self.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            self.flush()
            self.socket.shutdown(socket.SHUT_WR)

        def recv(self, count):
            try:
                return self.until_done(lambda: self.tls.read(count))
            except ssl.SSLZeroReturnError:
                return b""

    def test_a_half_close_behind_the_request(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(io)
            self.convert_v1(address, client_v1.TO_PNG, samples.JPG)
            before = self.at_rest(worker, master)
            with self.traffic(address):
                for version in ("v1.0", "v1.1"):
                    with self.subTest(io=io, version=version):
                        for _ in range(TRIES):
                            self.check_half(address, version)
            self.check_rest(before)

    def check_half(self, address, version):
        """The answer must come whole, and after it the end."""
        half = self.Half(address, self.context)
        self.addCleanup(half.socket.close)
        half.sendall(client_v1.request_header(
            samples.JPG, client_v1.TO_PNG, harness.TOKEN, version=version.encode()) + samples.JPG)
        half.close_write()
        if version == "v1.0":
            answer = client_v1.read_answer(half)
        else:
            head = client_v1.read_exact(half, client_v1_1.ANSWER.size)
            answer = client_v1.read_exact(half, client_v1_1.ANSWER.unpack(head)[3])
            self.assertEqual(half.recv(1), b"")
        samples.check_picture(answer, "png")


class Slow(faults.Case):
    """Slowness is borne as long as something moves, and costs nobody else anything."""

    def test_readers_and_writers_that_are_slow(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(io)
            self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY)
            before = self.at_rest(worker, master)
            with self.subTest(io=io), self.traffic(address) as traffic:
                failures = []
                slow = [
                    threading.Thread(target=self.run_slow, args=(one, address, failures), daemon=True)
                    for one in (self.slow_reader, self.slow_writer) * 3]
                for thread in slow:
                    thread.start()
                traffic.goes_on(20)
                for thread in slow:
                    thread.join(2 * harness.PATIENCE_S)
                    self.assertFalse(thread.is_alive(), "a slow client still waits")
                self.assertEqual(failures, [])
            self.check_rest(before)

    @staticmethod
    def run_slow(one, address, failures):
        try:
            one(address)
        except Exception as error:
            failures.append(f"{one.__name__}: {error!r}")

    def slow_reader(self, address):
        """Takes its answer in small pieces, with a pause after each of the first."""
        with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
            connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.send(client_v1.TEXT_TO_PDF, LONG_TEXT)
            recv, slow_bytes = connection.stream.recv, [64 * 1024]

            def slowly(count):
                if slow_bytes[0] > 0:
                    # The pace of the client is what is tested here.
                    time.sleep(0.01)
                    count = min(count, 2048)
                    slow_bytes[0] -= count
                return recv(count)
            connection.stream.recv = slowly
            samples.check_pdf(connection.receive().body)

    def slow_writer(self, address):
        """Sends its request in pieces of a few bytes."""
        wire = client_v1_1.request(samples.JPG, client_v1.TO_PNG, harness.TOKEN)
        with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
            for start in range(0, len(wire), 20):
                connection.stream.sendall(wire[start:start + 20])
                # The pace of the client is what is tested here.
                time.sleep(0.01)
            samples.check_picture(connection.receive().body, "png")


class Silent(faults.Case):
    """Connections that open and say nothing cost memory, and nothing else."""

    def test_2000_silent_connections(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(
                io, (), ("--handshake-timeout", "120s", "--header-timeout", "120s"))
            self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY)
            before = self.at_rest(worker, master)
            with self.subTest(io=io), self.traffic(address) as traffic:
                silent = []
                for number in range(SILENT):
                    # Every fourth makes its handshake, and is silent then.
                    stream = socket.create_connection(address, timeout=harness.PATIENCE_S)
                    if number % 4 == 0:
                        stream = self.context.wrap_socket(stream, server_hostname=address[0])
                    self.addCleanup(stream.close)
                    silent.append(stream)
                harness.eventually(
                    "all are accepted",
                    lambda: self.status(master)["connections_open"] > SILENT)
                # They are there, and hold no buffer.
                traffic.goes_on(100)
                for stream in silent:
                    stream.close()
            self.check_rest(before)


if __name__ == "__main__":
    unittest.main()
