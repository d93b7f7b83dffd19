"""Encrypted PDFs: opened with a password by every way in, and the password is nowhere to be seen."""

import shutil
import subprocess
import unittest

import client_v1
import harness
from test_web import Web

PASSWORD = "Ärger & Ænglist"
TEXT = "Für den, der ihn hat\n"


@unittest.skipUnless(shutil.which("qpdf"), "qpdf is missing")
class Passwords(Web):
    """qpdf encrypts what our own conversion has made."""

    def setUp(self):
        super().setUp()
        self.start_web("--log", "trace", worker_args=("--log", "trace"))
        _, _, plain = self.ask("POST", "/v1/convert?to=pdf", TEXT.encode())
        (self.dir / "plain.pdf").write_bytes(plain)
        subprocess.run(
            ["qpdf", "--encrypt", PASSWORD, "owner", "256", "--", "plain.pdf", "locked.pdf"],
            cwd=self.dir, check=True, timeout=60)
        self.locked = (self.dir / "locked.pdf").read_bytes()

    def tearDown(self):
        for server in (self.web, self.master, self.worker):
            self.assertNotIn(PASSWORD, server.log())
        super().tearDown()

    def test_the_wire(self):
        address = self.master.address()
        answer = self.convert_v1_1(address, client_v1.PDF_TO_TEXT, self.locked, password=PASSWORD)
        self.assertEqual(answer.decode().strip(), TEXT.strip())

    def test_http(self):
        for header, code in (({}, "MALFORMED"), ({"X-Fxsrv-Password": "no"}, "MALFORMED"),
                             ({"X-Fxsrv-Password": "x" * 128}, "BAD_OPTION")):
            status, _, body = self.ask("POST", "/v1/convert?to=txt", self.locked, header)
            self.assertGreaterEqual(status, 400)
            self.assertIn(code.encode(), body)
        status, _, body = self.ask(
            "POST", "/v1/convert?to=txt", self.locked, {"X-Fxsrv-Password": PASSWORD.encode()})
        self.assertEqual((status, body.decode().strip()), (200, TEXT.strip()))
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert?to=txt&password=x", self.locked)

    def test_the_command_line(self):
        host, port = self.master.address()
        secret = self.dir / "secret"
        secret.write_text(PASSWORD + "\n")
        command = ("convert", self.dir / "locked.pdf", "--to", "txt", "--server", f"{host}:{port}",
                   "--ca", self.certs / "ca.pem", "--token-file", self.token_file)
        refused = harness.run(*command, check=False)
        self.assertIn(b"needs a password", refused.stderr)
        self.assertIn(b"--password-file", refused.stderr)
        harness.run(*command, "--password-file", secret)
        self.assertEqual((self.dir / "locked.txt").read_text().strip("\f\n"), TEXT.strip())
        secret.write_text("\n")
        refused = harness.run(*command, "--password-file", secret, check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn(b"0 bytes", refused.stderr)


if __name__ == "__main__":
    unittest.main()
