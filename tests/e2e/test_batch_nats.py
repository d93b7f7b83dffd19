"""Batches over a cluster of three NATS servers and a bucket, with workers, servers and storage killed at random moments.

    python3 test_batch_nats.py --files 10000      the same with so many files
"""

import json
import os
import random
import sys
import threading
import time
import unittest

import bucket
import harness
import nats
import samples

#: In a test run as many as end within a minute on a busy machine.
FILES = 300

#: Longest wait for the end of a job; each fault costs up to half a minute.
JOB_S = 600

#: What a request to the storage takes at least, in the test of faults.
REQUEST_S = 0.01

#: Files of a job that have no result: every so many is none that could be converted.
BROKEN_EVERY = 50

WANTED = nats.has_server() and bucket.has_server()


@unittest.skipUnless(WANTED, "needs nats-server and moto")
class Queue(harness.Case):
    """A cluster and a bucket, and workers that take from one and write to the other."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.environ.update(bucket.CREDENTIALS)
        cls.cluster = nats.Cluster()
        cls.addClassCleanup(cls.cluster.end)
        cls.s3 = bucket.Server()
        cls.addClassCleanup(cls.s3.end)

    def setUp(self):
        super().setUp()
        self.prefix = self.id().rpartition(".")[2]
        self.job = self.prefix.replace(".", "-")

    def address(self, name):
        """A place beneath the test's prefix."""
        return f"s3://{bucket.BUCKET}/{self.prefix}/{name}/"

    def fill(self, count):
        """So many pictures, some of them broken."""
        bodies = [samples.PICTURES["png"], samples.PICTURES["webp"]]
        for number in range(count):
            body = b"\x89PNG broken" if number % BROKEN_EVERY == 7 else bodies[number % 2]
            self.s3.client.put_object(
                Bucket=bucket.BUCKET, Key=f"{self.prefix}/in/{number // 100}/{number}.png",
                Body=body)

    def batch(self, command, *args, code=0, timeout=120):
        """A subcommand of batch over the cluster."""
        done = harness.run("batch", command, *args, "--nats", self.cluster.url, check=False,
                           timeout=timeout)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stdout.decode()

    def submit(self, *args, source=None, code=0):
        """Puts the files on the queue."""
        return self.batch(
            "submit", source or self.address("in"), self.address("out"), "--to", "jpg",
            "--job", self.job, "--s3-endpoint", self.s3.url, *args, code=code)

    def start_queue_worker(self, *args, url=None):
        """A worker that takes files of batches."""
        return self.start_worker(
            "--queue", self.cluster.url, "--s3-endpoint", url or self.s3.url,
            "--grace", "60s", "--log", "warn", *args)

    def status(self):
        """How the job is; None where the cluster is choosing a leader."""
        done = harness.run("batch", "status", self.job, "--json", "--nats", self.cluster.url,
                           check=False, timeout=120)
        return json.loads(done.stdout) if done.returncode in (0, 1) and done.stdout else None

    def await_end(self, seconds=JOB_S):
        """Waits for the job to complete by itself."""
        def ended():
            status = self.status()
            return status if status and status["over"] else None
        return harness.eventually("the job is over", ended, seconds)

    def check_results(self, count):
        """Every file has exactly its one result, or its failure."""
        broken = {number for number in range(count) if number % BROKEN_EVERY == 7}
        expected = {f"{self.prefix}/out/{number // 100}/{number}.jpg"
                    for number in range(count) if number not in broken}
        keys = [key for key in self.s3.keys() if key.startswith(f"{self.prefix}/out/")]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertEqual(set(keys), expected)
        by_kind = {}
        for key in random.sample(sorted(expected), min(60, len(expected))):
            kind = int(key.rpartition("/")[2].partition(".")[0]) % 2
            data = self.s3.read(key)
            self.assertEqual(by_kind.setdefault(kind, data), data, "one source, one result")
        for data in by_kind.values():
            samples.check_picture(data, "jpg")
        return broken


class Jobs(Queue):
    """What a person does with a job."""

    def test_a_job_from_its_submission_to_its_retry(self):
        self.fill(60)
        self.assertEqual(self.submit().strip(), self.job)
        status = self.status()
        self.assertEqual((status["total"], status["pending"], status["over"]), (60, 60, False))
        # The same command adds nothing.
        self.submit()
        self.assertEqual(self.status()["pending"], 60)
        self.start_queue_worker()
        status = self.await_end()
        broken = self.check_results(60)
        self.assertEqual(
            (status["done"], status["failed"]), (60 - len(broken), len(broken)))
        self.assertEqual(sum(status["codes"].values()), len(broken))
        failures = [json.loads(line) for line in self.batch("results", self.job, code=1).splitlines()]
        names = {f"{self.address('in')}{number // 100}/{number}.png" for number in broken}
        self.assertEqual({failure["file"] for failure in failures}, names)
        self.assertTrue(all(failure["code"] in status["codes"] for failure in failures))
        # A file that is mended is tried again, and its failure is no more.
        self.s3.client.put_object(
            Bucket=bucket.BUCKET, Key=f"{self.prefix}/in/0/7.png", Body=samples.PICTURES["png"])
        self.batch("retry", self.job)
        watched = self.batch("watch", self.job, code=1, timeout=JOB_S)
        self.assertTrue(all(json.loads(line)["code"] for line in watched.splitlines()))
        status = self.await_end()
        self.assertEqual(
            (status["done"], status["failed"]), (61 - len(broken), len(broken) - 1))
        samples.check_picture(self.s3.read(f"{self.prefix}/out/0/7.jpg"), "jpg")
        self.batch("forget", self.job)
        self.batch("status", self.job, code=2)

    def test_a_job_is_cancelled_and_another_of_its_name_is_refused(self):
        self.fill(10)
        self.submit()
        self.batch("cancel", self.job)
        status = self.status()
        self.assertEqual((status["pending"], status["cancelled"], status["over"]), (0, 10, True))
        self.submit("--quality", "50", code=2)

    def test_a_worker_touches_only_what_it_may(self):
        inside, outside = self.dir / "inside", self.dir / "outside"
        for directory in (inside, outside):
            directory.mkdir()
            (directory / "a.png").write_bytes(samples.PICTURES["png"])
        (inside / "link.png").symlink_to(outside / "a.png")
        manifest = self.dir / "list"
        manifest.write_text(f"{inside}/a.png\n{inside}/link.png\n{outside}/a.png\n")
        self.submit(source=manifest)
        self.start_queue_worker("--queue-allow", str(inside), "--queue-allow", "s3://")
        status = self.await_end()
        self.assertEqual((status["done"], status["codes"]), (1, {"NOT_ALLOWED": 2}))

    def test_requests_go_before_batches(self):
        self.fill(200)
        worker = self.start_queue_worker("--slots", "1")
        master = self.start_master(worker.address())
        address = master.address()
        self.submit()
        harness.eventually("the batch is at work", lambda: (self.status() or {}).get("done", 0))
        for _ in range(5):
            result = self.convert_v1_1(address, samples.TO_JPG, samples.PICTURES["png"])
            samples.check_picture(result, "jpg")
        self.await_end()
        self.check_results(200)


class Discovery(Queue):
    """Workers that masters find by themselves."""

    def test_a_master_follows_the_workers_that_are_there(self):
        master = self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--token-file",
            self.token_file, "--workers-nats", self.cluster.url)
        address = master.address()

        def workers():
            told = harness.run(
                "status", "--server", f"{address[0]}:{address[1]}", "--ca", self.certs / "ca.pem",
                "--token-file", self.token_file, "--json").stdout
            # Without a worker it is their number.
            listed = json.loads(told)["workers"] or []
            return [worker["address"] for worker in listed if worker.get("state") == "up"]
        self.assertEqual(workers(), [])
        first = self.start_worker("--announce", self.cluster.url)
        harness.eventually("the first worker is found", lambda: len(workers()) == 1)
        second = self.start_worker("--announce", self.cluster.url)
        harness.eventually("the second worker is found", lambda: len(workers()) == 2)
        # One that is killed is found out by its checks, and its key is forgotten after a while.
        first.kill()
        harness.eventually("the first worker is gone", lambda: len(workers()) == 1)
        host, port = second.address()
        self.assertEqual(workers(), [f"{host}:{port}"])


class Faults(Queue):
    """kill -9 of everything that a job needs, one after the other."""

    files = FILES

    def test_nothing_is_lost_and_nothing_is_there_twice(self):
        rng = random.Random(9)
        count = self.files
        self.fill(count)
        proxy = Storage(self.s3)
        self.addCleanup(proxy.end)
        self.submit()
        workers = [self.start_queue_worker("--slots", "1", url=proxy.url) for _ in range(2)]
        done_before = -1
        struck = 0
        for fault in ("worker", "nats", "storage", "worker", "nats"):
            # At a moment that nothing in the job chooses, but while it goes on.
            goal = done_before + rng.randrange(1, max(2, count // 12))
            harness.eventually(
                f"the job goes on before the {fault} is lost",
                lambda: self.settled() > goal or self.is_over(), JOB_S)
            done_before = self.settled()
            struck += not self.is_over()
            if fault == "worker":
                victim = workers.pop(0)
                victim.kill()
                workers.append(self.start_queue_worker("--slots", "1", url=proxy.url))
            elif fault == "nats":
                number = rng.randrange(nats.SERVERS)
                self.cluster.kill(number)
                time.sleep(rng.random())
                self.cluster.start(number)
            else:
                proxy.kill()
                time.sleep(rng.random())
                proxy.start()
        status = self.await_end()
        broken = self.check_results(count)
        self.assertGreaterEqual(struck, 2, "the job was over before anything happened to it")
        self.assertEqual(
            (status["done"], status["failed"], status["total"]),
            (count - len(broken), len(broken), count))

    def settled(self):
        """Files whose fate is known."""
        status = self.status()
        return status["done"] + status["failed"] if status else -1

    def is_over(self):
        """Whether the job has ended."""
        status = self.status()
        return bool(status and status["over"])


class Storage:
    """The storage's server as workers see it: killed, it breaks every connection and takes none until
    it is started again. The objects themselves outlive it, as those of a real one do."""

    def __init__(self, s3):
        self.s3 = s3
        self.proxy = bucket.Proxy(s3.port, one_at_a_time=True)
        self.url = self.proxy.url
        self.down = threading.Event()

        def rule(_method, _path, _number):
            # One after the other, so that a job of a few hundred files takes seconds.
            time.sleep(REQUEST_S)
            # What is on its way is cut off in the middle.
            return "cut" if self.down.is_set() else None
        self.proxy.rule = rule

    def kill(self):
        """Breaks off."""
        self.down.set()

    def start(self):
        """Serves again."""
        self.down.clear()

    def end(self):
        """Ends it."""
        self.proxy.end()


if __name__ == "__main__":
    if "--files" in sys.argv:
        at = sys.argv.index("--files")
        Faults.files = int(sys.argv[at + 1])
        JOB_S = 3600
        del sys.argv[at:at + 2]
        sys.argv.append("Faults")
    unittest.main()
