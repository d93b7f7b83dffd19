"""Conversions that crash, hang, are killed or want too much: one child and one request, no more."""

import contextlib
import os
import re
import signal
import struct
import threading
import time
import unittest
import zlib
from pathlib import Path

import client_v1
import client_v1_1
import confine
import faults
import harness
import samples

MIB = 1024 * 1024

#: Two may work at once, and one waits.
SLOTS = 2
CHILDREN = SLOTS + 1

#: A burst, and what all children, and a worker with them, may have more some seconds after it than before:
#: what the first job of a kind loads for good, and a tenth of the worker. What two children and their
#: shared memory keep of such pictures for a next job is over 30 MiB; a frame that leaks with every request of
#: the burst is 98.
BURST = 12 * SLOTS
BURST_SIDE = 1200
BURST_TOLERANCE = 12 * MIB
BURST_SHARE = 1.1


def picture(side, row=None):
    """A PNG of noise, which takes a while, or of one row over and over, which takes memory."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + (row or os.urandom(3 * side)) for _ in range(side))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


class Request(threading.Thread):
    """One request, whose answer is asked for later."""

    def __init__(self, convert):
        super().__init__(daemon=True)
        self.convert, self.answer, self.error = convert, None, None
        self.start()

    def run(self):
        try:
            self.answer = self.convert()
        except OSError as error:
            self.error = error

    def result(self):
        """Its answer, which must come."""
        self.join(2 * harness.PATIENCE_S)
        if self.answer is None:
            raise AssertionError(f"there was no answer: {self.error!r}")
        return self.answer


class Case(faults.Case):
    """A master and a worker whose children can be seen."""

    def convert_raw(self, address, operation, body):
        """One conversion by a client of v1.1, whatever comes of it."""
        with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
            connection.stream.settimeout(2 * harness.PATIENCE_S)
            connection.send(operation, body)
            return connection.receive()

    def start_isolated(self, io, *args):
        """Worker and master; all children of the worker are there, and it has served once."""
        worker, master, address = self.start_tiers(io, ("--slots", str(SLOTS), *args))
        samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY))
        self.await_children(worker)
        return worker, master, address

    def await_children(self, worker):
        """Waits until there are as many as there should be, for the worker too."""
        harness.eventually(
            f"{CHILDREN} children", lambda: len(worker.children()) == CHILDREN
            and self.status(worker)["children"] == CHILDREN)

    @contextlib.contextmanager
    def stopped_conversion(self, worker, address):
        """A conversion whose child is stopped in the middle: its pid, and the request."""
        body = picture(1500)
        request = Request(lambda: self.convert_raw(address, client_v1.TO_PNG, body))

        def running():
            # Where nothing else is asked for, a child that runs is the one that converts.
            return [pid for pid in worker.children() if harness.process_state(pid) == "R"]
        pid = harness.eventually("a child works", running)[0]
        os.kill(pid, signal.SIGSTOP)
        harness.eventually("it is stopped", lambda: harness.process_state(pid) == "T")
        self.assertEqual(self.status(worker)["busy"], 1)
        self.assertIsNone(request.answer, "the conversion was over before it could be stopped")
        yield pid, request

    def check_after(self, worker, before, lost, cause):
        """All is as it was, but for children that are counted."""
        self.await_children(worker)
        status = self.status(worker)
        self.assertEqual((status["children_lost"], status[f"child_ended_{cause}"]), (lost, lost))
        self.check_rest(before)


class Work(Case):
    """What codecs do only for some files, and must be allowed to."""

    def test_a_picture_with_transparency_becomes_webp(self):
        # libwebp sorts what alpha consists of, for which the C library asks how much memory there is.
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(
                ">I", zlib.crc32(kind + data))
        side, bytes_of = 64, samples.pseudo_random(64 * 64 * 4)
        rows = b"".join(
            b"\0" + bytes(next(bytes_of) & 255 for _ in range(4 * side)) for _ in range(side))
        picture = (b"\x89PNG\r\n\x1a\n"
                   + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
        for io in harness.DRIVERS:
            _, _, address = self.start_isolated(io)
            for version in (self.convert_v1, self.convert_v1_1):
                with self.subTest(io=io):
                    result = version(address, client_v1.TO_WEBP, picture)
                    self.assertEqual(samples.picture_header(result), ("webp", side, side))


class Faults(Case):
    """A child that goes down in the middle of a conversion."""

    def test_a_child_that_is_killed_costs_one_request(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_isolated(io)
            before = self.at_rest(worker, master)
            with self.subTest(io=io), self.stopped_conversion(worker, address) as (pid, request):
                with self.traffic(address) as traffic:
                    os.kill(pid, signal.SIGKILL)
                    self.assertEqual(request.result().code, "WORKER_FAILED")
                    traffic.goes_on()
                self.check_after(worker, before, 1, "killed")

    def test_a_child_that_crashes_costs_one_request(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_isolated(io)
            before = self.at_rest(worker, master)
            for lost, number in enumerate((signal.SIGABRT, signal.SIGSEGV), 1):
                with self.subTest(io=io, signal=number), \
                        self.stopped_conversion(worker, address) as (pid, request):
                    with self.traffic(address) as traffic:
                        def is_gone(pid=pid, number=number):
                            # A first SIGSEGV from outside only tells Rust's handler that it is none
                            # of its own.
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(pid, number)
                                os.kill(pid, signal.SIGCONT)
                            return harness.process_state(pid) in (None, "Z")
                        harness.eventually("the child is gone", is_gone)
                        answer = request.result()
                        self.assertEqual(answer.code, "WORKER_FAILED")
                        self.assertIn(b"the service is unharmed", answer.body)
                        traffic.goes_on()
                    self.check_after(worker, before, lost, "crash")

    def test_a_child_that_hangs_is_ended_at_the_deadline(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_isolated(io, "--convert-timeout", "6s")
            before = self.at_rest(worker, master)
            with self.subTest(io=io), self.stopped_conversion(worker, address) as (pid, request):
                with self.traffic(address) as traffic:
                    self.assertEqual(request.result().code, "DEADLINE_EXCEEDED")
                    harness.eventually(
                        "the child is gone",
                        lambda pid=pid: harness.process_state(pid) in (None, "Z"))
                    traffic.goes_on()
                self.check_after(worker, before, 1, "deadline")

    def test_children_that_are_killed_while_they_wait_cost_nothing(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_isolated(io)
                before = self.at_rest(worker, master)
                for pid in worker.children():
                    os.kill(pid, signal.SIGKILL)
                    harness.eventually(
                        "it is gone",
                        lambda pid=pid: harness.process_state(pid) in (None, "Z"))
                samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY))
                harness.eventually(
                    "all are counted", lambda worker=worker:
                    self.status(worker)["child_ended_killed"] == CHILDREN)
                self.check_after(worker, before, CHILDREN, "killed")

    def test_a_file_that_needs_too_much_memory_is_refused(self):
        body = picture(5000, bytes(15_000))
        _, _, address = self.start_tiers("epoll")
        webp = self.convert_v1_1(
            address, client_v1.TO_WEBP, picture(3400, os.urandom(3 * 3400)), lossless="1")
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_isolated(io, "--isolation-memory", "64 MiB")
                before = self.at_rest(worker, master)
                with self.traffic(address) as traffic:
                    answer = self.convert_raw(address, client_v1.TO_WEBP, body)
                    self.assertEqual(answer.code, "LIMIT_EXCEEDED", answer.body)
                    # Its frame fits, and what libwebp takes beside it does not.
                    answer = self.convert_raw(address, client_v1.TO_PNG, webp)
                    self.assertEqual(answer.code, "LIMIT_EXCEEDED", answer.body)
                    self.assertIn(b"no memory", answer.body)
                    traffic.goes_on()
                self.await_children(worker)
                self.check_rest(before)
                # The same file is nothing to a worker with the usual limit.
                _, _, generous = self.start_isolated(io)
                answer = self.convert_raw(generous, client_v1.TO_WEBP, body)
                self.assertEqual(answer.code, "OK", answer.body)

    def test_one_crash_after_another_is_no_storm_of_processes(self):
        worker, master, address = self.start_isolated("epoll")
        before = self.at_rest(worker, master)
        started = self.status(worker)["children_started"]
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            for pid in worker.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # 16 are free; after them come waits of 10, 20, 40 ms and so on, which each new loss begins anew.
        self.assertLess(self.status(worker)["children_started"] - started, 16 + 2 * CHILDREN + 12)
        samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY))
        self.await_children(worker)
        self.check_rest(before)


class Life(Case):
    """From the start of a child to its end."""

    def test_a_child_has_nothing_but_its_work(self):
        worker, _, _ = self.start_isolated("epoll")
        for pid in worker.children():
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
            self.assertEqual((status["NoNewPrivs"], status["Threads"]), ("1", "1"))
            self.assertEqual(status["Seccomp"], "2", "a filter of system calls")
            limits = Path(f"/proc/{pid}/limits").read_text()
            for name in ("Max core file size", "Max processes", "Max locked memory"):
                self.assertRegex(limits, re.escape(name) + r" +0 +0 ")
            if os.geteuid() == 0:
                self.assertEqual(set(status["Uid"].split()), {"65534"})
                self.assertEqual(int(status["CapEff"], 16), 0)
                targets = [
                    os.readlink(f"/proc/{pid}/fd/{number}")
                    for number in sorted(os.listdir(f"/proc/{pid}/fd"))]
                kinds = [re.sub(r":\[\d+\]| \(deleted\)", "", target) for target in targets]
                self.assertEqual(kinds, ["socket", "/dev/null", "/dev/null", "/memfd:fxsrv"])
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                self.assertEqual(environment.count(b"="), 1, environment)

    def test_signals_to_all_of_a_service_are_the_workers_alone(self):
        worker, _, address = self.start_isolated("epoll")
        with self.stopped_conversion(worker, address) as (pid, request):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                for child in worker.children():
                    os.kill(child, number)
            os.kill(pid, signal.SIGCONT)
            self.assertEqual(request.result().code, "OK")
            self.assertEqual(self.status(worker)["children_lost"], 0)

    def test_walls_that_a_container_denies_are_told_and_not_needed(self):
        worker = self.start_worker("--io", "epoll", preexec_fn=confine.deny_walls)
        address = self.start_master(worker.address(), "--io", "epoll").address()
        for _, operation, body, judge in samples.every_conversion():
            judge(self.convert_v1_1(address, operation, body))
        for layer in ("Landlock: ", "the filter of system calls: "):
            worker.await_log(f"conversions are less isolated here: {layer}")
        self.assertGreater(len(worker.children()), 0)

    def test_no_child_outlives_its_worker(self):
        for io in harness.DRIVERS:
            for end in ("kill", "drain", "stop"):
                with self.subTest(io=io, end=end):
                    worker, _, address = self.start_isolated(io, "--grace", "1s", "--notice", "1ms")
                    children = worker.children()
                    with self.stopped_conversion(worker, address) as (pid, request):
                        self.assertIn(pid, children)
                        if end == "kill":
                            worker.kill()
                        else:
                            worker.signal({"drain": signal.SIGTERM, "stop": signal.SIGINT}[end])
                            worker.wait()
                        for child in children:
                            harness.eventually(
                                "no child is left",
                                lambda child=child: harness.process_state(child) in (None, "Z"))
                        self.assertNotEqual(request.result().code, "OK")

    def test_a_burst_leaves_nothing(self):
        body = picture(BURST_SIDE)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_isolated(io)

                def burst(count, address=address):
                    requests = [
                        Request(lambda: self.convert_raw(address, client_v1.TO_WEBP, body))
                        for _ in range(count)]
                    for request in requests:
                        self.assertEqual(request.result().code, "OK")
                before = self.at_rest(worker, master)
                children, memory = worker.children_bytes(), worker.memory_bytes()
                for _ in range(BURST // (2 * SLOTS)):
                    burst(2 * SLOTS)
                self.check_rest(before)
                children += BURST_TOLERANCE
                harness.eventually(
                    "the memory of the children is back", lambda worker=worker, most=children:
                    worker.children_bytes() < most)
                memory = memory * BURST_SHARE + BURST_TOLERANCE
                harness.eventually(
                    "the memory of the worker is back", lambda worker=worker, most=memory:
                    worker.memory_bytes() < most)

    def test_nothing_of_a_file_stays_in_shared_memory(self):
        secret = b"Of a secret that nobody else shall read, " * 100
        worker, master, address = self.start_isolated("epoll")
        samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, secret))
        self.at_rest(worker, master)
        arenas = [
            number for number, target in worker.fds().items() if target.startswith("/memfd:fxsrv ")]
        self.assertEqual(len(arenas), CHILDREN)
        # One of them held the file, so that its memory is there; nothing of it may be.
        held = sum(os.stat(f"/proc/{worker.pid}/fd/{number}").st_blocks for number in arenas)
        self.assertGreater(held, 0)

        def is_wiped():
            starts = b"".join(read_start(worker.pid, number) for number in arenas)
            return starts.count(0) == len(starts) > 0
        harness.eventually("all of it is zeros", is_wiped)

    def test_threads_do_the_same_where_they_are_asked_for(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, _, address = self.start_tiers(io, ("--isolation", "thread"))
                for _, operation, body, judge in samples.every_conversion():
                    judge(self.convert_v1_1(address, operation, body))
                self.assertEqual(worker.children(), [])
                self.assertNotIn("children", self.status(worker))


def read_start(pid, number, count=64 * 1024):
    """The first bytes of what a process has open."""
    with open(f"/proc/{pid}/fd/{number}", "rb") as file:
        return file.read(count)


if __name__ == "__main__":
    unittest.main()
