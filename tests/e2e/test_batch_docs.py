"""The commands of README.md and docs/batch.md, run as they are written."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import unittest

import bucket
import harness
import nats
import samples

README = harness.ROOT / "README.md"
BATCHES = harness.ROOT / "docs" / "batch.md"

#: The bucket of the documents.
NAME = "bucket"


@unittest.skipUnless(
    nats.has_server() and bucket.has_lasting_server(), "needs nats-server, boto3 and localbucket")
class Documented(harness.Case):
    """What a new user would type, on ports and in a bucket of the test's own."""

    def setUp(self):
        super().setUp()
        self.s3 = bucket.Server(bucket.lasting_command)
        self.addCleanup(self.s3.end)
        self.s3.client.create_bucket(Bucket=NAME)
        for number in range(4):
            self.s3.client.put_object(
                Bucket=NAME, Key=f"in/{number}.png", Body=samples.PICTURES["png"])
            self.s3.client.put_object(
                Bucket=NAME, Key=f"scans/{number}.pdf", Body=samples.pdf(samples.PDF_TEXT))
        self.home = self.dir / "home"
        (self.home / "photos").mkdir(parents=True)
        (self.home / "photos/a.png").write_bytes(samples.PICTURES["png"])
        (self.home / "list.txt").write_text("photos/a.png\n")
        (self.home / "tmp").mkdir()
        self.nats_port, self.worker_port = nats.free_ports(2)

    def commands(self, document, heading):
        """The shell blocks of a section, with the test's ports in them."""
        text = document.read_text()
        section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
        script = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
        self.assertIn("fxsrv batch", script)
        for written, own in (
                ("nats.internal:4222", f"127.0.0.1:{self.nats_port}"),
                ("127.0.0.1:4222", f"127.0.0.1:{self.nats_port}"),
                ("nats-server -js &", f"nats-server -js -a 127.0.0.1 -p {self.nats_port} & await_nats"),
                ("0.0.0.0:6000", f"127.0.0.1:{self.worker_port}"),
                ("127.0.0.1:6000", f"127.0.0.1:{self.worker_port}"),
                ("https://s3.example.org", self.s3.url)):
            script = script.replace(written, own)
        return script

    def run_script(self, script):
        """All of it in one shell, whose children end with it."""
        binary = self.dir / "bin"
        binary.mkdir()
        (binary / "fxsrv").symlink_to(harness.find_binary())
        begin = ("set -eu\nawait_nats() { "
                 f"until (: > /dev/tcp/127.0.0.1/{self.nats_port}) 2>/dev/null; do sleep 0.05; done; }}\n")
        words = open(self.dir / "words", "wb")
        self.addCleanup(words.close)
        shell = subprocess.Popen(
            ["bash", "-c", begin + script], cwd=self.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=words, start_new_session=True,
            env=harness.clean_env(
                PATH=f"{binary}:{os.environ['PATH']}", TMPDIR=str(self.home / "tmp"), HOME=str(self.home),
                AWS_ENDPOINT_URL=self.s3.url, **bucket.CREDENTIALS))
        try:
            code = shell.wait(harness.PATIENCE_S * 2)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            harness.eventually("its port is free again", self.is_over)
        self.assertEqual(code, 0, (self.dir / "words").read_text(errors="replace"))

    def is_over(self):
        """Whether nobody listens any more."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.nats_port)) != 0

    def check_bucket(self, prefix, judge):
        """Every file has its result."""
        found = self.s3.client.list_objects_v2(Bucket=NAME, Prefix=prefix).get("Contents", ())
        self.assertEqual(len(found), 4)
        for each in found:
            judge(self.s3.client.get_object(Bucket=NAME, Key=each["Key"])["Body"].read())

    def test_outgrowing_one_machine(self):
        self.run_script(self.commands(README, "Outgrow one machine"))
        samples.check_picture((self.home / "small/a.webp").read_bytes(), "webp")
        self.check_bucket("out/", lambda data: samples.check_picture(data, "webp"))

    def test_batches_in_one_process(self):
        self.run_script(self.commands(BATCHES, "In one process"))
        samples.check_picture((self.home / "small/a.webp").read_bytes(), "webp")
        samples.check_picture((self.home / "out/photos/a.jpg").read_bytes(), "jpg")
        self.check_bucket("text/", samples.check_text)

    def test_batches_over_many_machines(self):
        script = self.commands(BATCHES, "Over many machines")
        worker, jobs = script.split("\n\n", 1)
        before = (f"nats-server -js -a 127.0.0.1 -p {self.nats_port} & await_nats\n"
                  "fxsrv certs init --dir certs --name localhost\n")
        self.run_script(f"{before}{worker.rstrip()} &\n{jobs}")
        self.check_bucket("out/", lambda data: samples.check_picture(data, "webp"))


if __name__ == "__main__":
    unittest.main()
