"""Clients that leave while their conversion waits or runs: it ends with them, and nothing else does.

The processes that convert are stopped in the middle, and the time for a conversion is longer than any
test: whatever ends here has not ended by itself.
"""

import os
import signal
import unittest

import client_v1
import client_v1_1
import faults
import harness
import holding
import samples
import test_faults_clients
import test_isolation

#: One event loop each: what it has noticed of one connection it has looked for on all.
LOOP = ("--threads", "1")

#: Far longer than all waits of a test together.
PATIENT = (*LOOP, "--convert-timeout", "290s", "--queue-timeout", "280s")

#: What a worker holds for conversions, and has of them.
LOADS = ("in_flight", "in_flight_bytes", "busy", "queued", "waiting", "memory_budget_left",
         "working_budget_left")


class Departures(test_isolation.Case):
    """Clients of a worker whose conversions can be held still."""

    def start_patient(self, io):
        """Worker, master and address; all children are there, and have served once."""
        worker, master, address = self.start_tiers(
            io, ("--slots", str(test_isolation.SLOTS), *PATIENT), LOOP)
        samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY))
        self.await_children(worker)
        return worker, master, address

    def ask(self, address, body):
        """A connection that has sent a request of v1.1."""
        stream = client_v1.connect(address, self.context)
        self.addCleanup(stream.close)
        stream.sendall(client_v1_1.request(body, client_v1.TO_PNG, harness.TOKEN))
        return stream

    def stop_child(self, worker):
        """Stops the child that converts, which is the only one that runs."""
        def running():
            return [pid for pid in worker.children() if harness.process_state(pid) == "R"]
        pid = harness.eventually("a child works", running)[0]
        os.kill(pid, signal.SIGSTOP)
        harness.eventually("it is stopped", lambda: harness.process_state(pid) == "T")
        return pid

    def answer(self, stream):
        """The picture of an answer of v1.1."""
        head = client_v1.read_exact(stream, client_v1_1.ANSWER.size)
        _, status, _, size, _, _ = client_v1_1.ANSWER.unpack(head)
        body = client_v1.read_exact(stream, size)
        self.assertEqual(status, 0, body)
        return samples.picture_header(body)

    def loads(self, worker):
        """What the worker does at present."""
        status = self.status(worker)
        return {key: status[key] for key in LOADS}

    def await_status(self, server, **wanted):
        """Waits until the server says so of itself."""
        def differing():
            status = self.status(server)
            return {key: status.get(key, 0) for key in wanted if status.get(key, 0) != wanted[key]}
        try:
            harness.eventually("its status", lambda: not differing())
        except AssertionError:
            raise AssertionError(f"the {server.name} has {differing()} and not {wanted}") from None

    def test_who_leaves_takes_its_conversion_along(self):
        body = test_isolation.picture(1500)
        for io in harness.DRIVERS:
            worker, master, address = self.start_patient(io)
            before, loads = self.at_rest(worker, master), self.loads(worker)
            for ended, end in enumerate((faults.reset, faults.cut), 1):
                with self.subTest(io=io, end=end.__name__):
                    stream = self.ask(address, body)
                    pid = self.stop_child(worker)
                    with self.traffic(address) as traffic:
                        end(stream)
                        harness.eventually(
                            "its child is gone",
                            lambda pid=pid: harness.process_state(pid) in (None, "Z"))
                        for server in (master, worker):
                            self.await_status(server, requests_png_CLIENT_GONE=ended)
                        traffic.goes_on()
                    self.await_children(worker)
                    self.await_status(worker, child_ended_called_off=ended, children_lost=0, **loads)
            self.check_rest(before)

    def test_who_leaves_a_queue_leaves_no_gap(self):
        body = test_isolation.picture(1500)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_patient(io)
                before, loads = self.at_rest(worker, master), self.loads(worker)
                running, stopped = [], []
                for _ in range(test_isolation.SLOTS):
                    running.append(self.ask(address, body))
                    stopped.append(self.stop_child(worker))
                # As many as there are slots wait for one, and the others for their turn.
                queued = [self.ask(address, samples.JPG) for _ in range(8)]

                def waiting():
                    now = self.loads(worker)
                    return now["queued"] + now["waiting"]
                harness.eventually("all are in line", lambda: waiting() == len(queued))
                stays = queued.pop(4)
                for number, stream in enumerate(queued):
                    (faults.reset if number % 2 else faults.cut)(stream)
                harness.eventually("one is in line", lambda: waiting() == 1)
                for server in (master, worker):
                    self.await_status(
                        server, in_flight=len(running) + 1, requests_png_CLIENT_GONE=len(queued))
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
                for stream in running:
                    self.assertEqual(self.answer(stream), ("png", 1500, 1500))
                self.assertEqual(self.answer(stays)[0], "png")
                for stream in (*running, stays):
                    stream.close()
                self.await_status(worker, child_ended_called_off=0, children_lost=0, **loads)
                self.check_rest(before)

    def test_who_only_ends_its_sending_has_its_answer(self):
        body = test_isolation.picture(1500)
        for io in harness.DRIVERS:
            worker, master, address = self.start_patient(io)
            before = self.at_rest(worker, master)
            # The second request of a connection stands in front of the end of the sending.
            for ended, count in enumerate((1, 2), 1):
                with self.subTest(io=io, requests=count):
                    half = test_faults_clients.Halves.Half(address, self.context)
                    self.addCleanup(half.socket.close)
                    requests = [body, *[samples.JPG] * (count - 1)]
                    half.sendall(b"".join(
                        client_v1_1.request(one, client_v1.TO_PNG, harness.TOKEN)
                        for one in requests))
                    half.close_write()
                    pid = self.stop_child(worker)
                    # Once it is noticed that this one leaves, it is known of the first.
                    other = self.ask(address, body)
                    self.stop_child(worker)
                    faults.reset(other)
                    self.await_status(worker, child_ended_called_off=ended)
                    self.assertEqual(harness.process_state(pid), "T")
                    os.kill(pid, signal.SIGCONT)
                    self.assertEqual(self.answer(half), ("png", 1500, 1500))
                    for _ in requests[1:]:
                        self.assertEqual(self.answer(half)[0], "png")
                    self.assertEqual(half.recv(1), b"")
                    half.socket.close()
                    self.await_children(worker)
            self.check_rest(before)

    def test_a_thread_goes_on_and_what_waits_for_it_does_not(self):
        body = test_isolation.picture(1500)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(
                    io, ("--isolation", "thread", "--slots", "1", *PATIENT), LOOP)
                samples.check_pdf(self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY))
                before, loads = self.at_rest(worker, master), self.loads(worker)
                running = self.ask(address, body)
                harness.eventually("it is converted", lambda: self.loads(worker)["busy"] == 1)
                (thread,) = holding.threads_named(worker.pid, "convert")
                held = holding.Stopped(thread)
                self.addCleanup(held.end)
                if held.problem:
                    self.skipTest(f"a thread cannot be held still here: {held.problem}")
                self.assertEqual(self.loads(worker)["busy"], 1, "it was over before it was held")
                queued = [self.ask(address, samples.JPG) for _ in range(3)]
                self.await_status(worker, in_flight=4)
                for stream in (running, *queued):
                    faults.reset(stream)
                self.await_status(
                    worker, in_flight=1, busy=1, queued=0, waiting=0, requests_png_CLIENT_GONE=3)
                self.await_status(master, in_flight=0, requests_png_CLIENT_GONE=4)
                held.end()
                self.await_status(worker, requests_png_CLIENT_GONE=4, lost=0, **loads)
                self.check_rest(before)


if __name__ == "__main__":
    unittest.main()
