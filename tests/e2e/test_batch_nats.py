"""Batches over a cluster of three NATS servers and a bucket, and workers that announce themselves there."""

import json
import unittest

import bucket
import harness
import jobs
import samples


class Jobs(jobs.Queue):
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
        watched = self.batch("watch", self.job, code=1, timeout=jobs.JOB_S)
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


class Discovery(jobs.Queue):
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


if __name__ == "__main__":
    unittest.main()
