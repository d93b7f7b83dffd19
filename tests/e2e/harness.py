"""The processes under test: found, started, watched and ended.

Every wait has an end and says what did not happen. Nothing sleeps to let something else happen:
`eventually` looks again until the condition holds.
"""

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import client_v1
import client_v1_1
import prerequisites

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = ("uring", "epoll")

#: Longest wait for one step of a server. A debug build on a busy machine needs a few seconds.
PATIENCE_S = 30

TOKEN = "e2e.token.0123456789.ABCDEFGHIJK"


def find_binary():
    """The binary under test: FXSRV_BIN, or what `cargo build` left."""
    named = os.environ.get("FXSRV_BIN")
    candidates = [Path(named)] if named else [
        ROOT / "target" / profile / "fxsrv" for profile in ("release", "debug")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    tried = ", ".join(map(str, candidates))
    raise FileNotFoundError(
        f"no binary at {tried}; build one with `cargo build --release`, or set FXSRV_BIN")


def eventually(what, condition, seconds=PATIENCE_S):
    """Waits until `condition()` is true, and returns what it returned."""
    ends = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise AssertionError(f"{what}: did not happen within {seconds} s")
        time.sleep(0.01)


def run(*args, check=True, input=None, **options):
    """Runs `fxsrv` with `args` to its end."""
    done = subprocess.run(
        [find_binary(), *map(str, args)], input=input, capture_output=True,
        timeout=options.pop("timeout", PATIENCE_S), env=clean_env(), **options)
    if check and done.returncode != 0:
        raise AssertionError(
            f"fxsrv {' '.join(map(str, args))}: exit code {done.returncode}\n"
            f"{done.stderr.decode(errors='replace')}")
    return done


def clean_env(**more):
    """The environment without settings that belong to the person who runs the tests."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FXSRV_")}
    if os.geteuid() != 0:
        # Only root may otherwise look at a server's descriptors and counters.
        env["FXSRV_ALLOW_DUMPS"] = "1"
    return {**env, "NO_COLOR": "1", "RUST_BACKTRACE": "1", "HOME": "/nonexistent", **more}


def process_state(pid):
    """The letter of proc(5), or None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class Server:
    """One server process. Its stdout and stderr are pipes that threads read into lines."""

    def __init__(self, directory, *args, wrapper=(), binary=None, **popen):
        self.name = args[0]
        self.directory = Path(directory)
        self.tmp = self.directory / "tmp"
        self.tmp.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o777)
        self.expected_code = 0
        self.changed = threading.Condition()
        self.lines = {"stdout": [], "stderr": []}
        self.process = subprocess.Popen(
            [*wrapper, binary or find_binary(), *map(str, args)], cwd=self.directory,
            env=clean_env(TMPDIR=str(self.tmp)), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)
        self.pid = self.process.pid
        self.readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in self.lines]
        for reader in self.readers:
            reader.start()

    def _read(self, name):
        for line in getattr(self.process, name):
            with self.changed:
                self.lines[name].append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()

    def log(self):
        """What it has said on stderr."""
        with self.changed:
            return "\n".join(self.lines["stderr"])

    def await_log(self, text, times=1):
        """Waits until `text` is on its log, which comes by a way of its own, beside the answers."""
        eventually(
            f"{text!r} on the log of the {self.name}, {times} times",
            lambda: self.log().count(text) >= times)

    def address(self):
        """Waits until it serves, and returns where."""
        prefix = "listening on "

        def told():
            found = [line for line in self.lines["stdout"] if line.startswith(prefix)]
            return found or self.process.poll() is not None
        eventually(f"{self.name} says where it listens", told)
        for reader in self.readers if self.process.poll() is not None else ():
            reader.join(PATIENCE_S)
        for line in self.lines["stdout"]:
            if line.startswith(prefix):
                host, _, port = line[len(prefix):].rpartition(":")
                return host.strip("[]"), int(port)
        raise AssertionError(
            f"{self.name} ended with {self.process.returncode} before it served:\n{self.log()}")

    def wait(self, seconds=PATIENCE_S):
        """Waits for its end, and returns the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {seconds} s:\n{self.log()[-4000:]}") from None
        for reader in self.readers:
            reader.join(PATIENCE_S)
        return code

    def signal(self, number):
        """Sends it a signal."""
        self.process.send_signal(number)

    def kill(self):
        """Ends it as the kernel does where memory is short."""
        self.expected_code = -signal.SIGKILL
        self.signal(signal.SIGKILL)
        self.wait()

    def end(self):
        """Ends it by SIGINT, and says what was wrong with its life."""
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        try:
            code = self.wait()
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process.stderr.close()
        if code != self.expected_code or "panicked" in self.log():
            raise AssertionError(f"{self.name} ended with {code}:\n{self.log()[-8000:]}")

    def rss_bytes(self):
        """Resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.name} is gone")

    def may_have_huge_pages(self):
        """Whether the kernel gives it any; `None` where it does not say."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("THP_enabled:"):
                return line.split()[1] == "1"
        return None

    def children(self):
        """The processes that it has started and that are alive: those that convert."""
        found = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            try:
                text = Path(f"/proc/{self.pid}/task/{task}/children").read_text()
            except FileNotFoundError:
                continue
            found += [int(pid) for pid in text.split() if process_state(int(pid)) not in (None, "Z")]
        return sorted(found)

    def memory_bytes(self):
        """Its resident memory, what its children have of their own, and what they share with it."""
        return self.rss_bytes() + self.children_bytes()

    def children_bytes(self):
        """What its children have of their own, and what they share with it."""
        total = 0
        for pid in self.children():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        for number, target in self.fds().items():
            if target.startswith("/memfd:"):
                total += os.stat(f"/proc/{self.pid}/fd/{number}").st_blocks * 512
        return total

    def fds(self):
        """Its open descriptors: number to target."""
        found = {}
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(number)] = os.readlink(f"/proc/{self.pid}/fd/{number}")
            except FileNotFoundError:
                pass
        return found

    def holds(self, client):
        """Whether it has accepted this connection of ours over IPv4."""
        (_, server_port), (_, client_port) = client.getpeername(), client.getsockname()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(fields[side].rpartition(":")[2], 16) for side in (1, 2)]
            if ports == [server_port, client_port]:
                return f"socket:[{fields[9]}]" in self.fds().values()
        return False

    def cpu_s(self):
        """CPU time that it has used, all threads together."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def io(self, key):
        """A counter of /proc/PID/io."""
        for line in Path(f"/proc/{self.pid}/io").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise KeyError(key)


@functools.lru_cache(maxsize=None)
def say_what_is_missing():
    """Once a run, since a skipped test is a single letter in its output."""
    for line in prerequisites.missing():
        print(line, file=sys.stderr)


class Case(unittest.TestCase):
    """A test with a directory, certificates and a token of its own."""

    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        say_what_is_missing()

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="fxsrv-e2e-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.servers = []
        self.certs = self.make_certs("certs")
        self.token_file = self.dir / "token"
        self.token_file.write_text(TOKEN + "\n")
        self.token_file.chmod(0o600)
        self.context = client_v1.tls_context(self.certs / "ca.pem")

    def make_certs(self, name):
        """A new CA with its certificates."""
        directory = self.dir / name
        run("certs", "init", "--dir", directory, "--name", "localhost", "--name", "127.0.0.1")
        return directory

    def start(self, *args, **popen):
        """A server that is ended, and judged, with the test."""
        directory = self.dir / f"{args[0]}-{len(list(self.dir.iterdir()))}"
        directory.mkdir()
        server = Server(directory, *args, **popen)
        self.addCleanup(server.end)
        self.servers.append(server)
        return server

    def start_worker(self, *args, **popen):
        """A worker with the test's certificates."""
        return self.start(
            "worker", "--listen", "127.0.0.1:0", "--certs", self.certs, *args, **popen)

    def start_master(self, worker_address, *args, **popen):
        """A master with the test's certificates and token."""
        host, port = worker_address
        return self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs,
            "--token-file", self.token_file, "--worker", f"{host}:{port}", *args, **popen)

    def start_tiers(self, io="uring", worker_args=(), master_args=()):
        """A worker, and a master in front of it; returns both and the master's address."""
        worker = self.start_worker("--io", io, *worker_args)
        master = self.start_master(worker.address(), "--io", io, *master_args)
        return worker, master, master.address()

    def convert_v1(self, address, operation, body):
        """One conversion by a plain client of v1.0."""
        return client_v1.convert(address, self.context, TOKEN, operation, body)

    def convert_v1_1(self, address, operation, body, **options):
        """One conversion by a plain client of v1.1."""
        return client_v1_1.convert(address, self.context, TOKEN, operation, body, **options)


def raise_fd_limit():
    """As many descriptors as this process may have: some tests open hundreds of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
