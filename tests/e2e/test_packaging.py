"""The package: built from a binary, unpacked into a root of its own, served from, removed."""

import os
import re
import shutil
import socket
import subprocess
import unittest
from pathlib import Path

import client_v1
import harness
import samples

UNITS = ("fxsrv-master", "fxsrv-worker", "fxsrv-store", "fxsrv-web")


@unittest.skipUnless(shutil.which("dpkg-deb"), "dpkg-deb is missing")
class Package(harness.Case):
    """`packaging/deb`, and what is in it."""

    def build(self):
        done = subprocess.run(
            [harness.ROOT / "packaging" / "deb", "--bin", harness.find_binary(), "--out", self.dir],
            check=True, capture_output=True, text=True, timeout=300)
        return Path(done.stdout.strip())

    def unpack(self):
        """The files of the package, under a root of their own."""
        root = self.dir / "root"
        subprocess.run(["dpkg-deb", "-x", self.build(), root], check=True, timeout=300)
        return root

    def test_it_holds_what_a_server_needs_and_converts(self):
        root = self.unpack()
        binary = root / "usr/bin/fxsrv"
        for path in ("etc/fxsrv/fxsrv.toml", "usr/share/doc/fxsrv/SECURITY.md",
                     *(f"lib/systemd/system/{unit}.service" for unit in UNITS)):
            self.assertTrue((root / path).is_file(), path)
        # As the package says it: certificates and token in /etc/fxsrv, the shipped configuration.
        etc = root / "etc/fxsrv"
        shutil.copytree(self.certs, etc / "certs")
        shutil.copy(self.token_file, etc / "token")
        config = (etc / "fxsrv.toml").read_text()
        for role in ("worker", "master"):
            done = subprocess.run(
                [binary, role, "--config", "fxsrv.toml", "--check-config"], cwd=etc,
                env=harness.clean_env(), capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
        config = config.replace('listen = "127.0.0.1:6000"', 'listen = "127.0.0.1:0"')
        (etc / "fxsrv.toml").write_text(config)
        self.certs = etc / "certs"
        worker = self.start("worker", "--config", etc / "fxsrv.toml", "--certs", self.certs,
                            binary=str(binary))
        host, port = worker.address()
        master = self.start(
            "master", "--config", etc / "fxsrv.toml", "--certs", self.certs, "--token-file",
            etc / "token", "--listen", "127.0.0.1:0", "--worker", f"{host}:{port}",
            binary=str(binary))
        result = self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG)
        samples.check_picture(result, "png")

    @unittest.skipUnless(os.geteuid() == 0, "dpkg installs as root")
    def test_it_is_installed_and_removed_cleanly(self):
        root = self.dir / "system"
        admin = root / "var/lib/dpkg"
        for folder in ("info", "updates", "triggers"):
            (admin / folder).mkdir(parents=True)
        (admin / "status").touch()
        (admin / "available").touch()
        package = self.build()

        def dpkg(*args):
            # The scripts would run in the root, where there is no shell.
            done = subprocess.run(
                ["dpkg", f"--root={root}", "--force-not-root", "--force-depends",
                 "--force-script-chrootless", "--log=/dev/null", *args],
                capture_output=True, text=True, timeout=300,
                env={**os.environ, "PATH": f"{self.stubs()}:{os.environ['PATH']}:/usr/sbin:/sbin"})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # Without a root of its own a script would change this machine's users: it is looked at alone.
        scripts = harness.ROOT / "packaging" / "debian"
        for script in ("postinst", "prerm", "postrm"):
            subprocess.run(["sh", "-n", scripts / script], check=True)
        dpkg("--unpack", package)
        self.assertTrue((root / "usr/bin/fxsrv").is_file())
        self.assertTrue((root / "etc/fxsrv/fxsrv.toml.dpkg-new").is_file()
                        or (root / "etc/fxsrv/fxsrv.toml").is_file())
        dpkg("--purge", "--force-remove-reinstreq", "fxsrv")
        left = [path for path in root.rglob("*fxsrv*") if path.is_file()]
        self.assertEqual(left, [])

    def stubs(self):
        """Commands that scripts of a package call, and that must not reach this machine."""
        folder = self.dir / "stubs"
        folder.mkdir(exist_ok=True)
        for name in ("adduser", "systemctl", "chown", "chmod", "getent", "rm"):
            (folder / name).write_text("#!/bin/sh\nexit 0\n")
            (folder / name).chmod(0o755)
        return folder

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing")
    def test_units_are_right_and_hardened(self):
        root = self.unpack()
        for unit in UNITS:
            with self.subTest(unit=unit):
                path = root / f"lib/systemd/system/{unit}.service"
                # `--root` has systemd look for everything in there, so that the machine's own units
                # and missing targets are nobody's matter: what is left are words it does not know.
                text = path.read_text().replace("/usr/bin/fxsrv", harness.find_binary())
                copy = self.dir / f"{unit}.service"
                copy.write_text(text)
                done = subprocess.run(
                    ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True,
                    timeout=60)
                said = done.stderr + done.stdout
                for wrong in ("Unknown", "Failed to parse", "Invalid", "ignoring"):
                    self.assertNotRegex(said, rf"{unit}\.service:\d+: .*{wrong}", said)
                done = subprocess.run(
                    ["systemd-analyze", "security", "--offline=true", "--no-pager", copy],
                    capture_output=True, text=True, timeout=60)
                found = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
                if found:
                    self.assertLessEqual(float(found.group(1)), 2.5, done.stdout)


class Notify(harness.Case):
    """What a service manager is told."""

    def test_ready_watched_and_stopping(self):
        path = self.dir / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
            listener.settimeout(harness.PATIENCE_S)
            wrapper = ("env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=200000")
            worker = self.start_worker("--io", "epoll", wrapper=wrapper)
            worker.address()
            heard = []

            def hear(state):
                while state not in heard:
                    heard.append(listener.recv(1024).decode())
            hear("READY=1")
            heard.clear()
            hear("WATCHDOG=1")
            worker.signal(15)
            hear("STOPPING=1")
            worker.wait()


if __name__ == "__main__":
    unittest.main()
