"""Jobs for tests: a cluster of three NATS servers, a bucket, and what a job's results must be."""

import json
import os
import unittest

import bucket
import harness
import nats
import samples

#: Longest wait for the end of a job; each fault costs up to half a minute.
JOB_S = 600

#: Files of a job that have no result: every so many is none that could be converted.
BROKEN_EVERY = 50

WANTED = nats.has_server() and bucket.has_server()

#: Sizes of the pictures of a job.
SIZES = [(32 + 4 * number, 96 - 4 * (number % 7)) for number in range(11)]
PICTURES = [samples.png(*size) for size in SIZES]


def source(number):
    """What a file of a job is: one of some pictures, told apart by their sizes, or no picture."""
    return b"\x89PNG broken" if is_broken(number) else PICTURES[number % len(PICTURES)]


def is_broken(number):
    """Whether a file has no result."""
    return number % BROKEN_EVERY == 7


@unittest.skipUnless(WANTED, "needs nats-server, boto3 and moto")
class Queue(harness.Case):
    """A cluster and a bucket, and workers that take from one and write to the other."""

    #: What starts the server of the bucket.
    storage = staticmethod(bucket.command)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.environ.update(bucket.CREDENTIALS)
        cls.cluster = nats.Cluster()
        cls.addClassCleanup(cls.cluster.end)
        cls.s3 = bucket.Server(cls.storage)
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
        for number in range(count):
            self.s3.client.put_object(Bucket=bucket.BUCKET, Key=self.key("in", number), Body=source(number))

    def key(self, place, number):
        """Where a file is, or its result."""
        kind = {"in": "png", "out": "jpg"}[place]
        return f"{self.prefix}/{place}/{number // 100}/{number}.{kind}"

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
        broken = {number for number in range(count) if is_broken(number)}
        expected = {self.key("out", number): number for number in range(count) if number not in broken}
        keys = [key for key in self.s3.keys() if key.startswith(f"{self.prefix}/out/")]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertEqual(set(keys), set(expected))
        by_picture = {}
        for key, number in expected.items():
            data = self.s3.read(key)
            known = by_picture.setdefault(number % len(PICTURES), data)
            self.assertEqual(known, data, f"{key}: one source, one result")
        for kind, data in by_picture.items():
            samples.check_picture(data, "jpg", SIZES[kind])
        return broken
