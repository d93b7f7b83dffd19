"""`fxsrv batch run`: directories, manifests, buckets and stores; kill -9, signals, and what they leave."""

import json
import os
import signal
import subprocess
import unittest

import bucket
import harness
import samples


class Batch(harness.Case):
    """Runs batches over files of the test's own."""

    def setUp(self):
        super().setUp()
        self.source = self.dir / "in"
        self.target = self.dir / "out"
        self.journal = self.dir / "journal"
        self.source.mkdir()

    def fill(self, count, first=0):
        """Pictures of two kinds in a tree, and one file that is none."""
        for number in range(first, first + count):
            kind = ("png", "webp")[number % 2]
            path = self.source / f"{number % 7}" / f"{number}.{kind}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(samples.PICTURES[kind])
        (self.source / "notes.png").write_bytes(bytes(64))

    def command(self, *args, source=None, target=None, to="jpg"):
        """The arguments of a run."""
        return ["batch", "run", source or self.source, target or self.target, "--to", to,
                "--journal", self.journal, "--json", *args]

    def run_batch(self, *args, code=0, **places):
        """A run to its end: its lines by file, and the summary."""
        done = harness.run(*self.command(*args, **places), check=False, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["file"]: line for line in lines[:-1]}, lines[-1]

    def results(self):
        """All files beneath the target, by their paths."""
        return {str(path.relative_to(self.target)): path
                for path in self.target.rglob("*") if path.is_file()}


class Directories(Batch):
    """From a directory to a directory."""

    def test_every_file_has_a_result_or_a_code(self):
        self.fill(40)
        lines, summary = self.run_batch(code=1)
        self.assertEqual((summary["converted"], summary["failed"]), (40, {"UNKNOWN_TYPE": 1}))
        self.assertEqual(lines["notes.png"]["code"], "UNKNOWN_TYPE")
        found = self.results()
        self.assertEqual(len(found), 40)
        for number in (0, 1, 13, 39):
            samples.check_picture(found[f"{number % 7}/{number}.jpg"].read_bytes(), "jpg")
        # What failed is tried again, and what is done is not.
        (self.source / "notes.png").write_bytes(samples.PICTURES["png"])
        lines, summary = self.run_batch()
        self.assertEqual((list(lines), summary["before"]), (["notes.png"], 40))
        self.assertFalse(self.journal.exists(), "a job that is done needs no journal")
        # Another run finds its own results.
        _, summary = self.run_batch()
        self.assertEqual((summary["converted"], summary["same"]), (0, 41))

    def test_two_files_of_one_result_are_told_before_any_work(self):
        for name in ("a.png", "a.webp"):
            (self.source / name).write_bytes(samples.PICTURES["png"])
        done = harness.run(*self.command(), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("would all become a.jpg", done.stderr.decode())
        self.assertFalse(self.target.exists())
        self.run_batch("--include", "*.webp")
        self.assertEqual(list(self.results()), ["a.jpg"])

    def test_a_killed_run_goes_on_and_loses_nothing(self):
        self.fill(300)
        reported = 0
        for stop in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen(
                [harness.find_binary(), *map(str, self.command("--slots", "1"))],
                env=harness.clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with process:
                for _ in range(40):
                    reported += bool(process.stdout.readline())
                process.send_signal(stop)
                rest, words = process.communicate(timeout=harness.PATIENCE_S)
            reported += rest.count(b"\n")
            if stop == signal.SIGINT:
                self.assertEqual(process.returncode, 1, words)
                self.assertIn(b"the same command goes on", words)
        lines, summary = self.run_batch(code=1)
        self.assertEqual(summary["left"], 0)
        self.assertEqual(summary["before"] + len(lines), 301)
        # Only what a journal did not know yet was done twice: about a second's work each time.
        self.assertGreater(summary["before"], 0)
        found = self.results()
        self.assertEqual(len(found), 300)
        expected = {}
        for name, path in found.items():
            kind = "png" if int(path.stem) % 2 == 0 else "webp"
            data = path.read_bytes()
            self.assertEqual(expected.setdefault(kind, data), data, name)
        for data in expected.values():
            samples.check_picture(data, "jpg")

    def test_another_file_is_not_replaced_without_force(self):
        self.fill(2)
        (self.source / "notes.png").unlink()
        self.target.mkdir()
        (self.target / "0").mkdir()
        (self.target / "0/0.jpg").write_bytes(b"somebody's own")
        lines, _ = self.run_batch(code=1)
        self.assertEqual(lines["0/0.png"]["code"], "EXISTS")
        self.assertEqual((self.target / "0/0.jpg").read_bytes(), b"somebody's own")
        self.run_batch("--force")
        samples.check_picture((self.target / "0/0.jpg").read_bytes(), "jpg")

    def test_two_runs_of_one_job_do_not_meet(self):
        self.fill(1)
        (self.source / "notes.png").unlink()
        pipe = self.source / "1/late.png"
        pipe.parent.mkdir()
        pipe.write_bytes(samples.PICTURES["png"])
        self.journal.mkdir()
        import fcntl
        with open(self.journal / "journal", "w", encoding="ascii") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = harness.run(*self.command(), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("another run of this job goes on", done.stderr.decode())

    def test_wrong_places_are_named(self):
        for args, word in (
                (("missing", "out"), "there is no missing"),
                (("store:", "out"), "no list of its files"),
                ((self.source, "s3:///x"), "no bucket's name"),
                ((self.source, self.dir / "out"), "there is no file in")):
            done = harness.run("batch", "run", *args, "--to", "jpg", "--journal", self.journal,
                               check=False, cwd=self.dir)
            self.assertIn(done.returncode, (2, 3))
            self.assertIn(word, done.stderr.decode())


class Manifests(Batch):
    """A list of addresses."""

    def test_results_are_called_after_their_files(self):
        self.fill(4)
        (self.source / "0" / "space and é.png").write_bytes(samples.PICTURES["png"])
        listed = [self.source / "0/0.png", self.source / "0/space and é.png",
                  self.dir / "missing.png"]
        manifest = self.dir / "list"
        manifest.write_text("# some\n" + "\n".join(map(str, listed)) + "\n")
        lines, summary = self.run_batch(source=manifest, code=1)
        self.assertEqual(lines[str(listed[2])]["code"], "NOT_FOUND")
        self.assertEqual(summary["converted"], 2)
        beneath = str(self.source)[1:]
        self.assertEqual(
            sorted(self.results()), [f"{beneath}/0/0.jpg", f"{beneath}/0/space and é.jpg"])

    def test_a_line_that_is_no_address_is_told_before_any_work(self):
        manifest = self.dir / "list"
        manifest.write_text(f"{self.source}/a.png\n../b.png\n")
        done = harness.run(*self.command(source=manifest), check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("../b.png", done.stderr.decode())

    def test_files_of_a_store(self):
        root = self.dir / "root"
        root.mkdir()
        (root / "a.png").write_bytes(samples.PICTURES["png"])
        store = self.start("store", "--root", root, "--listen", "127.0.0.1:0", "--plain")
        host, port = store.address()
        manifest = self.dir / "list"
        manifest.write_text("store:a.png\nstore:b.png\n")
        at = ("--store", f"{host}:{port}", "--store-plain")
        lines, _ = self.run_batch(*at, source=manifest, target="store:", code=1)
        self.assertEqual((lines["store:a.png"]["code"], lines["store:b.png"]["code"]),
                         ("OK", "NOT_FOUND"))
        samples.check_picture((root / "a.jpg").read_bytes(), "jpg")
        # The same result again is no conflict, another file is one.
        self.run_batch(*at, "--fresh", source=manifest, target="store:", code=1)
        (root / "a.jpg").write_bytes(b"somebody's own")
        lines, _ = self.run_batch(*at, "--fresh", source=manifest, target="store:", code=1)
        self.assertIn(lines["store:a.png"]["code"], ("EXISTS", "STORAGE_FAILED"))


@unittest.skipUnless(bucket.has_server(), "needs moto: pip install 'moto[s3,server]'")
class Buckets(Batch):
    """From a bucket, and to one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.s3 = bucket.Server()
        cls.addClassCleanup(cls.s3.end)

    def setUp(self):
        super().setUp()
        os.environ.update(bucket.CREDENTIALS)
        self.prefix = self.id().rpartition(".")[2]

    def test_a_bucket_is_read_and_written_conditionally(self):
        for number in range(30):
            self.s3.client.put_object(
                Bucket=bucket.BUCKET, Key=f"{self.prefix}/in/deep/{number}.png",
                Body=samples.PICTURES["png"])
        start = f"s3://{bucket.BUCKET}/{self.prefix}"
        self.s3.client.put_object(
            Bucket=bucket.BUCKET, Key=f"{self.prefix}/out/deep/3.webp", Body=b"somebody's own")
        args = ("--s3-endpoint", self.s3.url)
        places = {"source": f"{start}/in/", "target": f"{start}/out/", "to": "webp"}
        lines, summary = self.run_batch(*args, code=1, **places)
        self.assertEqual((summary["converted"], summary["failed"]), (29, {"EXISTS": 1}))
        self.assertEqual(lines["deep/3.png"]["code"], "EXISTS")
        keys = [key for key in self.s3.keys() if key.startswith(f"{self.prefix}/out/")]
        self.assertEqual(len(keys), 30)
        samples.check_picture(self.s3.read(f"{self.prefix}/out/deep/29.webp"), "webp")
        # Without its journal the same job meets its own results.
        _, summary = self.run_batch(*args, "--fresh", code=1, **places)
        self.assertEqual((summary["converted"], summary["same"]), (0, 29))
        # And from the bucket to a directory.
        _, summary = self.run_batch(*args, "--fresh", source=f"{start}/in/", to="jpg")
        self.assertEqual((summary["converted"], len(self.results())), (30, 30))

    def test_a_bucket_that_fails_for_a_moment_is_asked_again(self):
        proxy = bucket.Proxy(self.s3.port)
        self.addCleanup(proxy.end)
        for number in range(6):
            self.s3.client.put_object(
                Bucket=bucket.BUCKET, Key=f"{self.prefix}/{number}.png",
                Body=samples.PICTURES["png"])
        proxy.rule = lambda method, path, number: 503 if number % 3 == 0 else None
        _, summary = self.run_batch(
            "--s3-endpoint", proxy.url, source=f"s3://{bucket.BUCKET}/{self.prefix}/")
        self.assertEqual(summary["converted"], 6)

    def test_a_bucket_that_is_not_there_is_named(self):
        done = harness.run(*self.command(
            "--s3-endpoint", self.s3.url, source="s3://nowhere/x/"), check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("there is no such bucket", done.stderr.decode())


if __name__ == "__main__":
    unittest.main()
