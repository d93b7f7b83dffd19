"""Admission: what is accepted is done in time, refusals are quick, and nobody takes it all."""

import threading
import time
import unittest
import zlib

import client_v1
import client_v1_1
import harness
import overload
import samples
from client_v1 import ServerError

#: Longest time that a request waits for its turn here.
QUEUE_S = 1.0

#: What the processes of a busy machine may add to any time that is measured from outside.
SLACK_S = 5.0


def picture(side):
    """A PNG of side x side that takes a while to become WEBP, and little to make."""
    def row(y):
        return bytes((x * 7 ^ y * 13) & 0xff for x in range(side * 3))
    rows = [b"\0" + row(y) for y in range(64)]
    raw = b"".join(rows[y % 64] for y in range(side))

    def chunk(kind, data):
        return (len(data).to_bytes(4, "big") + kind + data
                + zlib.crc32(kind + data).to_bytes(4, "big"))
    head = side.to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


class Admission(harness.Case):
    """A worker with one slot, which is easily too little."""

    def start_small(self, io, *worker_args, tokens=None):
        """A worker with one slot, and a master."""
        worker = self.start_worker(
            "--io", io, "--slots", "1", "--queue-timeout", f"{int(QUEUE_S * 1000)}ms", *worker_args)
        host, port = worker.address()
        master = self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--token-file",
            tokens or self.token_file, "--worker", f"{host}:{port}", "--io", io)
        return worker, master, master.address()

    def status(self, address, token=harness.TOKEN):
        """The numbers of a server's status."""
        text = client_v1_1.convert(address, self.context, token, client_v1_1.STATUS, b"").decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def measured(self, load, seconds):
        """What is answered within a time, after a moment to settle."""
        harness.eventually("requests are answered", lambda: len(load.ended) >= 8)
        count, began = len(load.ended), time.monotonic()
        load.stop.wait(seconds)
        return load.since(count), time.monotonic() - began

    def test_three_times_too_much_is_refused_quickly_and_the_rest_done_in_time(self):
        body = picture(400)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, _, address = self.start_small(io)
                load = overload.Load(self, address, harness.TOKEN, client_v1.TO_WEBP, body, 3)
                ended, seconds = self.measured(load, 3)
                load.end()
                peak = len(overload.times(ended, "OK")) / seconds
                self.assertGreater(peak, 0)
                # More connections than find a place, so that each sends in its own time.
                connections = 12 + int(4 * peak * QUEUE_S)
                load = overload.Load(
                    self, address, harness.TOKEN, client_v1.TO_WEBP, body, min(connections, 120),
                    period_s=min(connections, 120) / (3 * peak))
                ended, seconds = self.measured(load, 5)
                load.end()
                done, refused = overload.times(ended, "OK"), overload.times(ended, "BUSY")
                self.assertEqual(len(done) + len(refused), len(ended), set(e.code for e in ended))
                self.assertTrue(refused, "three times too much, and nobody is refused")
                # `just bench-overload` measures how near it comes; here other processes take a part.
                self.assertGreater(len(done) / seconds, 0.5 * peak)
                self.assertLess(overload.quantile(done, 0.99), QUEUE_S + 2 / peak + SLACK_S)
                self.assertLess(overload.quantile(refused, 0.5), overload.quantile(done, 0.5))
                for one in ended:
                    if one.code == "BUSY":
                        self.assertGreaterEqual(one.retry_after_ms, 50)

    def test_a_token_that_floods_leaves_another_its_share(self):
        tokens = self.dir / "tokens"

        def new(name):
            done = harness.run("token", "new", "--file", tokens, "--name", name)
            return done.stdout.decode().strip()
        flood, quiet = new("flood"), new("quiet")
        body = picture(300)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, _, address = self.start_small(io, tokens=tokens)
                loud = overload.Load(self, address, flood, client_v1.TO_WEBP, body, 60)
                harness.eventually("the queue is long", lambda: len(loud.ended) >= 60)
                soft = overload.Load(self, address, quiet, client_v1.TO_WEBP, body, 2)
                harness.eventually(
                    "both are served",
                    lambda: len(overload.times(soft.ended, "OK")) >= 3)
                loud_count = len(loud.ended)
                soft_ended, _ = self.measured(soft, 4)
                loud_ended = loud.since(loud_count)
                soft.end()
                loud.end()
                mine = len(overload.times(soft_ended, "OK"))
                others = len(overload.times(loud_ended, "OK"))
                # Two connections, one after another, hardly fill half of a slot's time; sixty that
                # are first come first served would leave them a thirtieth.
                self.assertGreater(mine, (mine + others) / 8, (mine, others))
                refused = len(overload.times(soft_ended, "BUSY"))
                self.assertLess(refused, len(soft_ended) / 4 + 2)

    def test_memory_is_taken_only_as_far_as_the_budget_goes(self):
        body = picture(2000)  # 16 MB as RGBA, about 42 MB to work with: one, and no second.
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker = self.start_worker(
                    "--io", io, "--slots", "4", "--memory", "128 MiB", "--queue-timeout", "60s")
                address = self.start_master(worker.address(), "--io", io).address()
                results = []

                def convert():
                    results.append(self.convert_v1_1(address, client_v1.TO_JPG, body))
                threads = [threading.Thread(target=convert) for _ in range(6)]
                for thread in threads:
                    thread.start()
                busy, waited = 0, 0
                context = client_v1.tls_context(
                    self.certs / "ca.pem", (self.certs / "client.pem", self.certs / "client.key"))
                with client_v1_1.Connection(worker.address(), context, "") as connection:
                    while any(thread.is_alive() for thread in threads):
                        connection.send(client_v1_1.STATUS, b"")
                        lines = connection.receive().body.decode().splitlines()
                        now = dict(line.split("=", 1) for line in lines)
                        busy = max(busy, int(now["busy"]))
                        waited = max(waited, int(now["waiting"]))
                self.assertEqual(len(results), 6)
                for result in results:
                    self.assertTrue(result.startswith(b"\xff\xd8"))
                self.assertEqual(busy, 1)
                self.assertGreater(waited, 0)
                self.assertEqual(now["working_budget"], str(64 << 20))
                with self.assertRaises(ServerError) as raised:
                    self.convert_v1_1(address, client_v1.TO_JPG, samples.png(16, 16)[:16]
                                      + (6000).to_bytes(4, "big") * 2 + samples.png(16, 16)[24:])
                self.assertEqual(raised.exception.code, "LIMIT_EXCEEDED")
                self.assertIn("over the 67108864 here", str(raised.exception))
                with client_v1.connect(address, self.context) as stream:
                    stream.sendall(client_v1.request_header(
                        b"", client_v1.TO_JPG, harness.TOKEN, size=100 << 20))
                    error = client_v1.parse_error(client_v1.read_answer(stream))
                self.assertEqual(error.code, "TOO_LARGE")
                self.assertIn("that this worker has memory for", str(error))


if __name__ == "__main__":
    unittest.main()
