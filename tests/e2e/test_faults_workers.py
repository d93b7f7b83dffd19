"""Workers that leave, are killed, or are strange, while other requests go through the same master."""

import signal
import unittest

import client_v1
import client_v1_1
import faults
import harness

TRIES = 4

#: The code of an answer that says so.
BUSY = 11


class Leaving(faults.Case):
    """The request that meets the fault hears of it; those beside it, on the same worker, do not."""

    def setUp(self):
        super().setUp()
        self.worker = faults.Worker(self.certs)
        self.addCleanup(self.worker.__exit__)

    def masters(self):
        """A master on each driver, and what it is to come back to."""
        for io in harness.DRIVERS:
            master = self.start_master(self.worker.address, "--io", io)
            self.convert_v1_1(master.address(), client_v1.TEXT_TO_PDF, faults.BODY)
            yield io, master, self.at_rest(master)

    def test_a_worker_that_leaves_at_every_stage(self):
        for io, master, before in self.masters():
            with self.traffic(master.address()):
                for stage in faults.Worker.STAGES:
                    for self.worker.leave in (faults.reset, faults.cut, faults.close_notify):
                        with self.subTest(io=io, stage=stage, end=self.worker.leave.__name__):
                            for _ in range(TRIES):
                                self.check_fault(master.address(), stage)
            self.check_rest(before)

    def check_fault(self, address, stage):
        """WORKER_FAILED before an answer has begun, and a cut after it."""
        body = faults.Worker.faulty_body(stage)
        expected = client_v1.CutAnswer if stage == "in the answer" else client_v1.ServerError
        for convert in (self.convert_v1, self.convert_v1_1):
            with self.assertRaises(expected) as caught:
                convert(address, client_v1.TEXT_TO_PDF, body)
            if expected is client_v1.ServerError:
                self.assertEqual(caught.exception.code, "WORKER_FAILED")

    def test_an_answer_in_records_of_one_byte(self):
        def send(stream, data):
            for byte in data:
                stream.sendall(bytes([byte]))
        self.worker.send = send
        for io, master, before in self.masters():
            with self.subTest(io=io), self.traffic(master.address()) as traffic:
                traffic.goes_on(20)
            self.check_rest(before)

    def test_a_worker_that_closes_after_every_answer(self):
        # A kept connection may end at any time between two requests: that costs no request.
        class Closing(faults.Worker):
            def handle(self, stream):
                self.answer_one(stream)
        worker = Closing(self.certs)
        self.addCleanup(worker.__exit__)
        for io in harness.DRIVERS:
            master = self.start_master(worker.address, "--io", io)
            self.convert_v1_1(master.address(), client_v1.TEXT_TO_PDF, faults.BODY)
            before = self.at_rest(master)
            with self.subTest(io=io), self.traffic(master.address()) as traffic:
                traffic.goes_on(40)
            self.check_rest(before)


class Busy(faults.Worker):
    """A worker that has no room for 321 ms."""

    def reply(self, stream, body):
        if body is not self.RESULT:
            return super().reply(stream, body)
        text = b"BUSY: all is taken"
        digest = client_v1_1.hashlib.md5(text).digest()
        self.send(stream, client_v1_1.ANSWER.pack(
            b"v1.1", BUSY, digest, len(text), 321, 0) + text)
        return True


class Refusing(faults.Case):
    """A worker that has no room, and another one that is gone."""

    #: Masters that are asked once each: in each the worker that is gone comes second by one half.
    MASTERS = 6

    def test_busy_is_what_is_said_of_a_worker_that_is_busy(self):
        with Busy(self.certs) as busy:
            for io in harness.DRIVERS:
                for _ in range(self.MASTERS):
                    gone = self.start_worker("--io", io)
                    second = "%s:%d" % gone.address()
                    master = self.start_master(
                        busy.address, "--worker", second, "--io", io, "--check-interval", "60s")
                    harness.eventually("both are up", lambda master=master: [
                        value for key, value in self.status(master).items()
                        if key.endswith(".state")] == ["up", "up"])
                    gone.kill()
                    with self.subTest(io=io), client_v1_1.Connection(
                            master.address(), self.context, harness.TOKEN) as client:
                        client.send(client_v1.TEXT_TO_PDF, faults.BODY)
                        answer = client.receive()
                        self.assertEqual((answer.code, answer.retry_after_ms), ("BUSY", 321))


class Killed(faults.Case):
    """SIGKILL, as the kernel gives it where memory is short."""

    STAGES = ("before the header", "in the body", "before the answer", "in the answer")

    def test_a_worker_killed_at_every_stage(self):
        for io in harness.DRIVERS:
            for stage in self.STAGES:
                with self.subTest(io=io, stage=stage):
                    self.check_kill(io, stage)

    def check_kill(self, io, stage):
        """One of two workers dies with a request at `stage`, and others wherever they are."""
        workers = [self.start_worker("--io", io) for _ in range(2)]
        second = "%s:%d" % workers[1].address()
        master = self.start_master(workers[0].address(), "--worker", second, "--io", io)
        address = master.address()
        self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY)
        before = self.at_rest(master)
        with client_v1_1.Connection(address, self.context, harness.TOKEN) as client:
            victim = self.bring_to(stage, client, master, workers)
            # With it fail the requests that it had in hand: at most one for each client, and once.
            with self.traffic(address, allowed=self.is_worker_failed) as traffic:
                traffic.goes_on(20)
                victim.kill()
                traffic.goes_on(20)
            self.assertLessEqual(len(traffic.excused), faults.CLIENTS, traffic.excused)
            self.check_end(stage, client)
        self.check_rest(before)
        # And whoever comes later does not notice.
        with self.traffic(address) as traffic:
            traffic.goes_on(20)
        self.check_rest(before)

    @staticmethod
    def is_worker_failed(error):
        return isinstance(error, client_v1.CutAnswer) \
            or isinstance(error, client_v1.ServerError) and error.code == "WORKER_FAILED"

    def bring_to(self, stage, client, master, workers):
        """Begins a request up to `stage`, and returns the worker that has it."""
        body = bytes(3_000_000)
        wire = client_v1_1.request(body, client_v1.TEXT_TO_PDF, harness.TOKEN)
        if stage == "before the header":
            return workers[0]
        # What only looks like its end: the last byte is held back until its worker cannot answer.
        client.stream.sendall(wire[:200_000 if stage == "in the body" else -1])
        victim = harness.eventually(
            "a worker has the request", lambda: next(
                (worker for worker in workers
                 # A check of the master's is in flight too, and has no body.
                 if self.status(worker)["in_flight_bytes"] == len(body)), None))
        if stage != "in the body":
            if stage == "before the answer":
                victim.signal(signal.SIGSTOP)
            client.stream.sendall(wire[-1:])
        if stage == "in the answer":
            client_v1.read_exact(client.stream, 100)
        return victim

    def check_end(self, stage, client):
        """What the request of that stage comes to."""
        if stage == "before the header":
            client.convert(client_v1.TEXT_TO_PDF, faults.BODY)
        elif stage == "in the answer":
            # It may have been whole in the kernel's buffers by then.
            return
        else:
            answer = client.receive()
            self.assertEqual(answer.code, "WORKER_FAILED")


if __name__ == "__main__":
    unittest.main()
