"""Spans of requests at a collector, and the parts of requests among the metrics."""

import signal
import unittest
import urllib.request

import client_v1
import client_v1_1
import harness
import otlp
import samples

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Spans(harness.Case):
    """`--otlp`."""

    def start_followed(self, io, collector):
        """A worker and a master that send their spans to it, and the master's address."""
        follow = ("--io", io, "--otlp", collector)
        worker = self.start_worker(*follow)
        return worker, self.start_master(worker.address(), *follow)

    def test_a_request_is_followed_through_both_tiers(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                collector = otlp.Collector()
                self.addCleanup(collector.close)
                worker, master = self.start_followed(io, collector.url)
                with client_v1_1.Connection(
                        master.address(), self.context, harness.TOKEN) as connection:
                    connection.convert(
                        client_v1.TO_PNG, samples.JPG, id=f"00-{TRACE}-{CALLER}-01")
                    connection.send(client_v1.TO_PNG, b"no picture", id="mine")
                    self.assertEqual(connection.receive().code, "WRONG_TYPE")
                # What is left is sent when a server ends.
                for server in (master, worker):
                    server.signal(signal.SIGTERM)
                    server.wait()
                self.check(collector.spans)
                for secret in (harness.TOKEN.encode(), samples.JPG[:64], b"no picture"):
                    self.assertFalse(any(secret in body for body in collector.bodies))

    def check(self, spans):
        """Two requests in two tiers, one of them in its caller's trace."""
        joined = [span for span in spans if span.trace == TRACE]
        requests = {span.service: span for span in joined if span.name == "request"}
        self.assertEqual(set(requests), {"fxsrv-master", "fxsrv-worker"})
        parts = {"fxsrv-master": {"queue", "tunnel"},
                 "fxsrv-worker": {"receive", "queue", "convert", "send"}}
        for service, request in requests.items():
            self.assertEqual(request.parent, CALLER)
            self.assertEqual(
                [request.attributes[key] for key in ("code", "operation", "bytes_in")],
                ["OK", "PNG", len(samples.JPG)])
            inside = [span for span in joined if span.service == service and span != request]
            self.assertEqual({span.name for span in inside}, parts[service])
            self.assertEqual({span.parent for span in inside}, {request.id})
        other = [span for span in spans if span.trace != TRACE and span.name == "request"]
        self.assertEqual(
            sorted((span.service, span.attributes["id"], span.attributes["code"], span.parent)
                   for span in other),
            [("fxsrv-master", "mine", "WRONG_TYPE", ""), ("fxsrv-worker", "mine", "WRONG_TYPE", "")])

    def test_a_collector_that_is_gone_costs_no_request(self):
        worker, master = self.start_followed("epoll", "http://127.0.0.1:9")
        for _ in range(3):
            self.convert_v1_1(master.address(), client_v1.TO_PNG, samples.JPG)
        for server in (master, worker):
            server.signal(signal.SIGTERM)
            server.wait()

    def test_an_address_that_is_none_is_said_at_the_start(self):
        done = harness.run(
            "worker", "--certs", self.certs, "--otlp", "127.0.0.1:4318", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"'127.0.0.1:4318' is no address of a collector", done.stderr)


class Parts(harness.Case):
    """The parts of requests in `/metrics`."""

    def test_a_worker_tells_them_apart(self):
        worker, _, address = self.start_tiers(worker_args=("--admin", "127.0.0.1:0"))
        self.convert_v1_1(address, client_v1.TO_PNG, samples.JPG)
        line = harness.eventually("the admin address", lambda: next(
            (line for line in worker.log().splitlines() if "admin on " in line), None))
        url = line.split("admin on ")[1]

        def counts():
            text = urllib.request.urlopen(url, timeout=harness.PATIENCE_S).read().decode()
            found = {part: f"fxsrv_{part}_seconds_count 1\n" in text
                     for part in ("request", "receive", "queue", "convert", "send")}
            return all(found.values())
        harness.eventually("each part of one request is counted", counts)


if __name__ == "__main__":
    unittest.main()
