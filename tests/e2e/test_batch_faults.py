"""A job whose worker, NATS servers and storage are killed at random moments: nothing is lost, nothing is there twice.

    python3 test_batch_faults.py --files 10000 [--seed N] [--report DIR]      the same with so many files, and a page of it
"""

import argparse
import collections
import json
import os
import platform
import random
import subprocess
import sys
import time
import unittest
from pathlib import Path

import bucket
import harness
import jobs
import nats

#: In a test run as many as end within a minute on a busy machine.
FILES = 300

#: Between two faults: at most this part of the files.
FAULTS_MIN = 12

#: Each of these happens again and again, until the job is over.
FAULTS = ("worker", "nats", "storage")

#: What is down stays down for so long at most.
DOWN_S = 2.0

WORKERS = 2


@unittest.skipUnless(
    jobs.WANTED and bucket.has_lasting_server(), "needs nats-server, moto, boto3 and localbucket")
class Faults(jobs.Queue):
    """kill -9 of everything that a job needs, one after the other, for as long as it goes on."""

    files = FILES
    seed = None
    report = None
    storage = staticmethod(bucket.lasting_command)

    def test_nothing_is_lost_and_nothing_is_there_twice(self):
        seed = self.seed if self.seed is not None else random.randrange(1 << 32)
        # A failure is repeated with its seed, as far as moments can be.
        with self.subTest(seed=seed):
            self.strike_until_the_end(random.Random(seed), seed)

    def strike_until_the_end(self, rng, seed):
        """The job, its faults, and its count."""
        self.fill(self.files)
        self.submit()
        started = time.monotonic()
        self.workers = [self.start_one() for _ in range(WORKERS)]
        struck, settled = [], 0
        while True:
            # Each kind in turn, in an order of its own every time.
            kinds = list(FAULTS)
            rng.shuffle(kinds)
            for kind in kinds:
                # The first of each kind come early: a machine that is quick must meet them all.
                apart = FAULTS_MIN if len(struck) >= len(FAULTS) else 4 * FAULTS_MIN
                goal = settled + rng.randrange(1, max(2, self.files // apart))
                settled = self.await_progress(goal)
                if settled is None:
                    break
                struck.append((kind, settled, round(time.monotonic() - started, 1)))
                getattr(self, f"strike_{kind}")(rng)
            if settled is None:
                break
        took = time.monotonic() - started
        self.await_end()
        broken = self.check_results(self.files)
        # A server that came back may answer before it has caught up, and know fewer failures.
        self.cluster.await_copies()
        counts = (self.files - len(broken), len(broken), self.files)

        def told():
            status = self.status()
            return status and counts == (status["done"], status["failed"], status["total"]) and status
        status = harness.eventually(f"the status tells {counts}", told)
        failures = [json.loads(line)["file"]
                    for line in self.batch("results", self.job, code=1).splitlines()]
        start = f"s3://{bucket.BUCKET}/"
        self.assertEqual(sorted(failures), sorted(start + self.key("in", number) for number in broken))
        written = self.check_writes()
        self.assertEqual({kind for kind, *_ in struck}, set(FAULTS), "the job was over too soon")
        if self.report:
            self.write_report(seed, took, struck, status, written)

    def start_one(self):
        """A worker with a few files at a time, so that faults meet a job of a few hundred in the middle."""
        return self.start_queue_worker("--slots", "1", "--queue-parallel", str(self.parallel()))

    def parallel(self):
        """As many as a worker has by itself, where the job is long."""
        return 2 if self.files <= FILES else 8

    def await_progress(self, goal):
        """How many files are settled once these are; None at the job's end."""
        def there():
            status = self.status()
            if status is None:
                return None
            settled = status["done"] + status["failed"]
            return (status, settled) if status["over"] or settled >= goal else None
        status, settled = harness.eventually("the job goes on", there, jobs.JOB_S)
        return None if status["over"] else settled

    def strike_worker(self, rng):
        """One of them is lost, and another one comes."""
        self.workers.pop(rng.randrange(len(self.workers))).kill()
        self.workers.append(self.start_one())

    def strike_nats(self, rng):
        """One of three is lost, and comes back with its files. The next is not lost before it has caught up: two of three that are
        lost at once are more than a cluster promises to bear."""
        number = rng.randrange(nats.SERVERS)
        self.cluster.kill(number)
        time.sleep(rng.uniform(0, DOWN_S))
        self.cluster.start(number)
        self.cluster.await_copies()

    def strike_storage(self, rng):
        """The server of the bucket is lost, with what it was about to write, and comes back with what it had."""
        self.s3.kill()
        time.sleep(rng.uniform(0, DOWN_S))
        self.s3.start()

    def check_writes(self):
        """What the storage's own log says was written: no result more than once."""
        accepted, refused = collections.Counter(), 0
        for method, path, status in self.s3.requests():
            if method == "PUT" and f"/{self.prefix}/out/" in path:
                if status == 200:
                    accepted[path] += 1
                else:
                    self.assertEqual(status, 412, path)
                    refused += 1
        twice = {path: count for path, count in accepted.items() if count > 1}
        self.assertEqual(twice, {})
        return {"accepted": len(accepted), "refused": refused}

    def write_report(self, seed, took, struck, status, written):
        """A page that says what happened, and the same as data."""
        told = {"seed": seed, "files": self.files, "seconds": round(took, 1), "faults": struck,
                "status": status, "results_written": written, **where()}
        self.report.mkdir(parents=True, exist_ok=True)
        (self.report / "faults.json").write_text(json.dumps(told, indent=1) + "\n")
        (self.report / "faults.md").write_text(page(told))


def where():
    """What it ran on."""
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=harness.ROOT)
        return (done.stdout or done.stderr).strip()
    from importlib.metadata import version
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": first("git", "rev-parse", "--short", "HEAD"),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}",
        "versions": [first(harness.find_binary(), "--version").splitlines()[0], first("nats-server", "--version"),
                     f"localbucket {version('localbucket')}"]}


def page(told):
    """The report."""
    kinds = collections.Counter(kind for kind, *_ in told["faults"])
    status, written = told["status"], told["results_written"]
    lines = [
        f"# A job under faults, {told['date']}", "",
        f"Commit {told['commit']}, {', '.join(told['versions'])}; {told['machine']}. "
        f"`python3 tests/e2e/test_batch_faults.py --files {told['files']} --seed {told['seed']} --report DIR`.", "",
        f"{told['files']} pictures in a bucket, {WORKERS} workers, a cluster of {nats.SERVERS} NATS servers, and an S3 server that keeps "
        f"its files in a directory. In the {told['seconds']:.0f} s of the job, at random moments, kill -9 met "
        + ", ".join(f"{kinds[kind]} times {name}" for kind, name in
                    (("worker", "a worker"), ("nats", "a NATS server"), ("storage", "the S3 server"))) + ".", "",
        "| | |", "|---|---:|",
        f"| files | {status['total']} |",
        f"| with their result, each compared with that of its picture, each picture decoded | {status['done']} |",
        f"| that are no pictures, with their failure | {status['failed']} |",
        "| lost | 0 |",
        f"| results whose writing the storage's log shows once | {written['accepted']} |",
        "| results that were written twice | 0 |",
        f"| second writings that the storage refused, as the file was there | {written['refused']} |", "",
        "A result that the storage wrote just before it was killed is on no log. The job ended by itself: nothing was sent or asked but "
        "its status.", "",
        "| fault | files settled before | after s |", "|---|---:|---:|",
        *(f"| {kind} | {settled} | {after} |" for kind, settled, after in told["faults"]),
    ]
    return "\n".join(lines) + "\n"


def main():
    """A run of one's own size, or the module as a test."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--files", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--report", type=Path)
    args, rest = parser.parse_known_args()
    if args.files:
        Faults.files, jobs.JOB_S = args.files, 3600
    Faults.seed, Faults.report = args.seed, args.report and args.report.absolute()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
