"""Health that tells the truth: red for what is really the matter, and green again after it."""

import subprocess
import unittest
import urllib.error
import urllib.request

import client_v1
import fleet
import harness
import holding
import samples


def ask(address, path):
    """The status and text of an answer."""
    host, port = address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


class Health(fleet.FleetCase):
    """The admin address of each server."""

    def admin(self, server):
        """Where a server with `--admin 127.0.0.1:0` answers."""
        server.await_log("admin on http://")
        line = next(line for line in server.log().splitlines() if "admin on http://" in line)
        host, _, port = line.split("http://")[1].split("/")[0].rpartition(":")
        return host, int(port)

    def start_watched(self, io):
        worker = self.start_worker("--io", io, "--admin", "127.0.0.1:0", "--threads", "1")
        master = self.start_master_of(
            [self.spec(worker)], "--io", io, "--admin", "127.0.0.1:0")
        return worker, master

    def test_a_master_without_a_worker_is_not_ready_and_lives(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master = self.start_watched(io)
                admin = self.admin(master)
                harness.eventually("it is ready", lambda: ask(admin, "/readyz") == (200, "ready"))
                self.assertEqual(ask(self.admin(worker), "/readyz"), (200, "ready"))
                worker.kill()
                harness.eventually(
                    "it is not ready",
                    lambda: ask(admin, "/readyz") == (503, "no worker is ready"))
                self.assertEqual(ask(admin, "/livez"), (200, "ok"))

    def test_a_master_that_has_lost_one_of_two_is_degraded(self):
        workers, master = self.start_fleet("epoll", 2, ("--admin", "127.0.0.1:0"))
        admin = self.admin(master)
        self.assertEqual(ask(admin, "/readyz"), (200, "ready"))
        workers[0].kill()
        harness.eventually(
            "it is degraded",
            lambda: ask(admin, "/readyz") == (200, "degraded: 1 of 2 workers are ready"))
        text = self.convert_v1_1(master.address(), 0, b"").decode()
        self.assertIn("health=degraded\nhealth_reason=1 of 2 workers are ready\n", text)

    def test_a_certificate_that_is_over_turns_it_until_a_new_one_is_read(self):
        if subprocess.run(["openssl", "version"], capture_output=True).returncode != 0:
            self.skipTest("openssl is missing")
        worker = self.start_worker("--admin", "127.0.0.1:0", "--io", "epoll")
        worker.address()
        admin = self.admin(worker)
        self.assertEqual(ask(admin, "/readyz"), (200, "ready"))
        good = {path: path.read_bytes() for path in self.certs.iterdir()}
        self.sign_for_yesterday()
        worker.signal(1)
        worker.await_log("reloaded")
        status, text = ask(admin, "/readyz")
        self.assertEqual((status, text[:23]), (503, "the certificate is over"))
        for path, content in good.items():
            path.write_bytes(content)
        worker.signal(1)
        worker.await_log("reloaded", 2)
        self.assertEqual(ask(admin, "/readyz"), (200, "ready"))

    def sign_for_yesterday(self):
        """Puts a server's certificate in place that ended long ago, of the same key."""
        def openssl(*args):
            subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)
        extensions = self.dir / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        index = self.dir / "ca"
        (index / "new").mkdir(parents=True)
        (index / "index.txt").touch()
        (index / "serial").write_text("01\n")
        (index / "ca.cnf").write_text(
            "[ca]\ndefault_ca=own\n[own]\n"
            f"database={index}/index.txt\nserial={index}/serial\nnew_certs_dir={index}/new\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")
        openssl("req", "-new", "-key", self.certs / "server.key", "-subj", "/CN=over",
                "-out", self.dir / "over.csr")
        openssl("ca", "-batch", "-config", index / "ca.cnf", "-cert", self.certs / "ca.pem",
                "-keyfile", self.certs / "ca.key", "-in", self.dir / "over.csr", "-notext",
                "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
                "-extfile", extensions, "-out", self.dir / "over.pem")
        (self.certs / "server.pem").write_bytes((self.dir / "over.pem").read_bytes())

    def test_a_loop_that_does_not_turn_turns_it(self):
        worker, master = self.start_watched("epoll")
        admin = self.admin(worker)
        harness.eventually("it is ready", lambda: ask(admin, "/readyz") == (200, "ready"))
        stopped = holding.Stopped(holding.threads_named(worker.pid, "ring-")[0])
        if stopped.problem:
            stopped.end()
            self.skipTest(f"a thread cannot be held still here: {stopped.problem}")
        try:
            status, text = harness.eventually(
                "it is not ready", lambda: not_ready(admin), seconds=120)
            self.assertRegex(text, r"^an event loop has not turned for \d+ s$")
            self.assertEqual(ask(admin, "/livez"), (200, "ok"))
            self.wait_for_states(master, {self.spec(worker): "down"})
        finally:
            stopped.end()
        harness.eventually("it is ready again", lambda: ask(admin, "/readyz") == (200, "ready"))
        harness.eventually(
            "its master asks it again",
            lambda: self.fleet(master)[self.spec(worker)]["state"] == "up")
        samples.check_picture(
            self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")


def not_ready(admin):
    """The answer, where it is 503."""
    answer = ask(admin, "/readyz")
    return answer if answer[0] == 503 else None


if __name__ == "__main__":
    unittest.main()
