#!/usr/bin/env python3
"""Lets a fleet live through faults at random, under clients of every kind, and says what became of every request.

    just soak [--minutes 30] [--seed N] [--out results/soak/DATE]

Two masters, three workers and a store on loopback. Workers, a master and the store are killed, workers stopped, the processes
in which they convert killed; packets are delayed, lost and reordered, and the store's disk fills up, where that is permitted
(root, `unshare`, `tc`). Meanwhile good clients convert and keep files, and others send damaged files, garbage, wrong tokens,
half requests and nothing. In the end:

- every request has one outcome; one that is not good is explained by a fault of that moment, or it is a violation;
- every result was checked, pictures by decoding them; every acknowledged file is in the store;
- one master and one worker have lived through it: nothing of them grows (lines through samples, with confidence, in runs of ten
  minutes and more), and the master's descriptors, buffers and requests in flight are what they were;
- nothing of a body is on disk.

The exit code is 0 if all of that holds. docs/reliability.md says what is promised.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import clients  # noqa: E402
import faults  # noqa: E402
import harness  # noqa: E402
import injectors  # noqa: E402
import leaks  # noqa: E402
import ledger  # noqa: E402
import report  # noqa: E402

DISK_BYTES = 64 << 20

#: Below those that the kernel gives to connections.
PORTS = (20_000, 30_000)


class Member:
    """A server that comes back at its own address."""

    def __init__(self, soak, name, *args):
        self.soak, self.name, self.args = soak, name, args
        self.at, self.server = None, None
        self.start()

    def start(self):
        kind, *rest = self.args
        if self.at is None:
            self.at = ("127.0.0.1", self.soak.free_port())
        self.server = self.soak.start(kind, "--listen", "%s:%d" % self.at, *rest)
        self.server.address()


class Soak(faults.Case):
    """The fleet, its clients and its faults."""

    def runTest(self):
        """For unittest, whose set-up and clean-up are used."""

    def setUp(self):
        super().setUp()
        self.stopping = threading.Event()
        self.faults = ledger.Faults()
        self.ledger = ledger.Ledger(self.faults)
        self.strangers, self.others = {}, []
        self.lock = threading.Lock()

    def free_port(self):
        """A port that no connection is given while its server is away."""
        while True:
            with socket.socket() as probe:
                port = random.SystemRandom().randrange(*PORTS)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    pass

    def tally(self, name):
        """Counts what has no outcome."""
        with self.lock:
            self.strangers[name] = self.strangers.get(name, 0) + 1

    def violate(self, text):
        """Something beside the requests that must not be."""
        with self.lock:
            self.others.append(text)

    def build(self):
        self.disk = self.mount()
        root = (self.disk or self.dir) / "files"
        root.mkdir()
        self.workers = [
            Member(self, f"worker {number}", "worker", "--certs", self.certs, "--io", io)
            for number, io in enumerate(("uring", "epoll", "uring"), 1)]
        listed = [part for worker in self.workers for part in ("--worker", "%s:%d" % worker.at)]
        common = ("--certs", self.certs, "--token-file", self.token_file, *listed, "--check-interval", "500ms")
        self.masters = [
            Member(self, f"master {number}", "master", *common, "--io", io)
            for number, io in enumerate(("epoll", "uring"), 1)]
        self.store = Member(self, "store", "store", "--root", root, "--plain")

    def mount(self):
        """A small disk, which can be filled; None where that is not permitted."""
        place = self.dir / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "soak", place], capture_output=True)
        if done.returncode:
            return None
        self.addCleanup(subprocess.run, ["umount", "-l", place], capture_output=True)
        return place

    def crowd(self, seed):
        """All clients."""
        seeds = random.Random(seed)
        made = []

        def add(kind, name, *args):
            made.append(kind(self, f"{name} {len(made)}", seeds.random(), *args))
        for master in self.masters:
            for version in ("v1.0", "v1.1", "v1.1"):
                add(clients.Good, "good", master, version)
            add(clients.Hostile, "hostile", master)
        add(clients.Bad, "bad", self.masters[1])
        add(clients.Slow, "slow", self.masters[1])
        for _ in range(2):
            add(clients.Keeper, "keeper", self.store)
        return made

    def survivors(self):
        """Those that no fault kills."""
        return [self.masters[1], self.workers[-1]]

    def live(self, seconds, seed, pause_s):
        """The run itself."""
        before = self.at_rest(*(member.server for member in self.survivors()))
        crowd = self.crowd(seed)
        self.watcher = leaks.Watcher(self, self.survivors())
        injector = injectors.Injector(self, seed + 1, pause_s)
        for thread in (*crowd, self.watcher, injector):
            thread.start()
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            self.stopping.wait(min(10, seconds))
            print(f"{time.monotonic() - begin:6.0f} s  {self.ledger.entered()} requests, "
                  f"{sum(self.faults.counts().values())} faults, {len(self.ledger.violations)} violations",
                  file=sys.stderr, flush=True)
        self.stopping.set()
        for thread in (injector, self.watcher, *crowd):
            thread.join(2 * clients.PATIENCE_S)
            if thread.is_alive():
                self.violate(f"{thread.name} still waits")
        for thread in crowd:
            if isinstance(thread, clients.Keeper):
                thread.check_all()
            if isinstance(thread, clients.Good) and thread.kept:
                thread.kept.close()
        self.look_after(before)

    def look_after(self, before):
        """What is to be as it was."""
        if self.ledger.begun != self.ledger.entered():
            self.violate(f"{self.ledger.begun} requests and {self.ledger.entered()} outcomes")
        try:
            self.check_rest(before)
        except AssertionError as error:
            self.violate(str(error))
        for server in self.servers:
            for path in server.directory.rglob("*"):
                if path.is_file():
                    self.violate(f"{path} was written by the {server.name}")
            if clients.MARKER in server.log():
                self.violate(f"the log of the {server.name} has a body in it")

    def at_rest(self, *servers):
        # A worker has the connections that both masters keep, as long as they like.
        return {server: fds for server, fds in super().at_rest(*servers).items()
                if server.name == "master"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None, help="of clients and faults; a new one each time")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two faults")
    parser.add_argument("--out", type=Path, help="where the report goes; without it, it is printed alone")
    args = parser.parse_args()
    enter_namespace()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    harness.raise_fd_limit()
    soak = Soak()
    soak.setUpClass()
    soak.setUp()
    try:
        soak.build()
        soak.live(args.minutes * 60, seed, args.pause)
        found = report.Report(soak, args.minutes * 60, seed)
    finally:
        soak.doCleanups()
    print(found.markdown())
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "README.md").write_text(found.markdown())
        (args.out / "soak.json").write_text(json.dumps(found.data(), indent=1) + "\n")
    sys.exit(0 if found.is_good() else 1)


def enter_namespace():
    """Starts over in a network of its own, where that is permitted: it is to be spoilt."""
    inside = "FXSRV_SOAK_ISOLATED"
    if os.environ.get(inside) or not shutil.which("unshare"):
        return
    command = ["unshare", "--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
        os.environ[inside] = "1"
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


if __name__ == "__main__":
    main()
