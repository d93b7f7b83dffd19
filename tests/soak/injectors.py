"""The faults: what is done to the servers, at random moments, one at a time."""

import os
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path

#: A worker is stopped for so long at most: shorter than a client's patience and the time of a request.
STOPPED_S_MAX = 3
FULL_S_MAX = 2
NETWORK_S_MAX = 5

#: How packets are delayed, lost and reordered. Not every kernel has netem; a narrow way with a short queue loses packets too.
NETWORKS = (
    "netem delay 20ms 10ms", "netem loss 2%", "netem delay 5ms reorder 25%",
    "tbf rate 20mbit burst 128kb latency 30ms", "tbf rate 100mbit burst 128kb latency 5ms")


def children(pid):
    """The processes that `pid` has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class Injector(threading.Thread):
    """Picks a fault, lets it be for a while, takes it back, and waits for the fleet to be as before."""

    def __init__(self, soak, seed, pause_s):
        super().__init__(daemon=True)
        self.soak, self.random, self.pause_s = soak, random.Random(seed), pause_s
        self.acts = [
            self.kill_worker, self.kill_worker, self.stop_worker, self.kill_child, self.kill_master,
            self.reload_master, self.kill_store]
        self.networks = [how for how in NETWORKS if can_shape(how)]
        if self.networks:
            self.acts.append(self.spoil_network)
        if soak.disk:
            self.acts.append(self.fill_disk)

    def run(self):
        while not self.soak.stopping.wait(self.random.uniform(0.5, 1.5) * self.pause_s):
            try:
                self.random.choice(self.acts)()
            except AssertionError as error:
                self.soak.violate(f"a server did not come back: {error}")
                return

    def for_a_while(self, most_s):
        self.soak.stopping.wait(self.random.uniform(0.2, 1) * most_s)

    def respawn(self, kind, member):
        span = self.soak.faults.begin(kind, member.name)
        member.server.kill()
        member.start()
        self.soak.faults.end(span)

    def kill_worker(self):
        self.respawn("worker killed", self.random.choice(self.soak.workers[:-1]))

    def kill_master(self):
        self.respawn("master killed", self.soak.masters[0])

    def kill_store(self):
        self.respawn("store killed", self.soak.store)

    def stop_worker(self):
        worker = self.random.choice(self.soak.workers)
        span = self.soak.faults.begin("worker stopped", worker.name)
        worker.server.signal(signal.SIGSTOP)
        try:
            self.for_a_while(STOPPED_S_MAX)
        finally:
            worker.server.signal(signal.SIGCONT)
            self.soak.faults.end(span)

    def kill_child(self):
        """One of the processes in which a worker converts, if it has any."""
        worker = self.random.choice(self.soak.workers)
        found = children(worker.server.pid)
        if not found:
            return
        span = self.soak.faults.begin("worker's child killed", worker.name)
        number = self.random.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
        try:
            os.kill(self.random.choice(found), number)
        except ProcessLookupError:
            pass
        self.soak.faults.end(span)

    def reload_master(self):
        """No fault to a client: nothing is excused by it."""
        master = self.random.choice(self.soak.masters)
        span = self.soak.faults.begin("reload", master.name)
        master.server.signal(signal.SIGHUP)
        self.soak.faults.end(span)

    def spoil_network(self):
        span = self.soak.faults.begin("network", "lo")
        shape("add", *self.random.choice(self.networks).split())
        try:
            self.for_a_while(NETWORK_S_MAX)
        finally:
            shape("del")
            self.soak.faults.end(span)

    def fill_disk(self):
        filler = self.soak.disk / "filler"
        span = self.soak.faults.begin("disk full", self.soak.store.name)
        try:
            with open(filler, "wb") as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError:
            pass
        self.for_a_while(FULL_S_MAX)
        filler.unlink()
        self.soak.faults.end(span)


def shape(verb, *how):
    subprocess.run(["tc", "qdisc", verb, "dev", "lo", "root", *how], check=True, capture_output=True)


def can_shape(how):
    """Whether the network is ours to spoil, and the kernel can do it so."""
    if not os.environ.get("FXSRV_SOAK_ISOLATED") or not shutil.which("tc"):
        return False
    try:
        shape("add", *how.split())
        shape("del")
    except subprocess.CalledProcessError:
        return False
    return True
