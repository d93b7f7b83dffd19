"""Processes of the comparison, and what the kernel counts of them."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 30


def raise_descriptor_limit(wanted):
    """As many descriptors as are wanted, or as this process may have. Returns the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return limit
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def enter_namespace():
    """Starts this program over in a network of its own with reno, where that is permitted."""
    inside = "FXSRV_PEERS_ISOLATED"
    if os.environ.get(inside) or not shutil.which("unshare"):
        return
    setup = ("ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control"
             " && echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"")
    command = ["unshare", "--net", "--", "sh", "-c", setup, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[inside] = "1"
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def is_isolated():
    """Whether loopback is this comparison's alone."""
    return bool(os.environ.get("FXSRV_PEERS_ISOLATED"))


class Process:
    """A process, and those that it has started; ended with `end`."""

    def __init__(self, command, log, cores=None):
        self.log = log
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        with open(log, "wb") as stderr:
            self.child = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stderr, preexec_fn=pin, env=clean_env())

    def line(self):
        """The next line of its stdout."""
        line = self.child.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError(f"{self.child.args[0]} ended: {self.said()}")
        return line

    def tell(self):
        """Lets it go on to its next stage."""
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()

    def said(self):
        """The end of what it wrote to stderr."""
        return Path(self.log).read_text(errors="replace")[-2000:]

    def is_alive(self):
        return self.child.poll() is None

    def pids(self):
        """Itself and its descendants."""
        found, unseen = [], [self.child.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                # A thread may end between its being listed and its being read.
                with contextlib.suppress(FileNotFoundError):
                    unseen += map(int, task.read_text().split())
        return found

    def cpu_s(self):
        """User and system time. The kernel rounds to 10 ms what it has measured exactly."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_SECOND

    def memory_bytes(self, key="VmRSS"):
        """Resident memory, of all its processes; with "VmHWM" its peak."""
        total = 0
        for pid in self.pids():
            found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            total += int(found[1]) * 1024
        return total

    def reset_memory_peak(self):
        """Lets the peak start over."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def end(self):
        """Ends it, by what ends every contender at once."""
        if self.is_alive():
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            stream.close()


def clean_env():
    """The environment without settings of the person who runs this."""
    return {key: value for key, value in os.environ.items()
            if not key.startswith("FXSRV_") or key == "FXSRV_PEERS_ISOLATED"}


def eventually(what, condition, seconds=PATIENCE_S):
    """Waits until `condition()` holds."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def talk(helpers, stage, between):
    """Waits until all are at `stage`, does what is to be done there, and returns what they say in the end."""
    for process in helpers:
        line = process.line()
        if line != stage:
            raise RuntimeError(f"expected {stage!r}, got {line!r}")
    between()
    for process in helpers:
        process.tell()
    answers = [json.loads(process.line()) for process in helpers]
    for answer in answers:
        if answer["failed"]:
            raise RuntimeError(f"{answer['failed']} requests failed: {answer['first_failure']}")
    return answers


class SyscallCounter:
    """Counts the system calls of processes that run already: by perf, or by strace where there is no perf."""

    def __init__(self, dir):
        self.dir = Path(dir)
        probe = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]
        by_perf = shutil.which("perf") and subprocess.run(
            probe, capture_output=True, check=False).returncode == 0
        self.tool = "perf stat -e raw_syscalls:sys_enter" if by_perf else (
            "strace -c -f" if shutil.which("strace") else None)

    def start(self, pids):
        self.out = self.dir / "syscalls"
        self.out.unlink(missing_ok=True)
        if self.tool.startswith("perf"):
            command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", self.out,
                       "-p", ",".join(map(str, pids))]
        else:
            command = ["strace", "-c", "-f", "-q", "-o", self.out]
            command += [part for pid in pids for part in ("-p", str(pid))]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Neither says when it has attached; both have done so long before this.
        time.sleep(0.5)

    def stop(self):
        """How many there were."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)
        text = self.out.read_text()
        if self.tool.startswith("perf"):
            return int(re.search(r"^(\d+),", text, re.M)[1])
        return int(re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s.*total", text, re.M)[1])
