"""NATS for tests: a cluster of three servers with JetStream, each a process that can be killed and started again."""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import harness

SERVERS = 3


def has_server():
    """Whether there is a server to start."""
    return shutil.which("nats-server") is not None


def free_ports(count):
    """Ports that nobody has; held together so that no two are one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def is_whole(copies):
    """Whether all copies of a group, without the leader's own, are there and up to date."""
    return len(copies) == SERVERS - 1 and all(
        copy.get("current") and not copy.get("offline") for copy in copies)


class Cluster:
    """Servers that know each other. Files lie in a directory of their own."""

    def __init__(self, count=SERVERS, extra=""):
        self.directory = tempfile.TemporaryDirectory(prefix="fxsrv-nats-")
        ports = free_ports(3 * count)
        self.clients, self.routes, self.monitors = (ports[i::3] for i in range(3))
        self.extra = extra
        self.processes = [None] * count
        for number in range(count):
            self.start(number)
        self.url = ",".join(f"nats://127.0.0.1:{port}" for port in self.clients)
        harness.eventually("the cluster has a leader", self._is_ready, 60)

    def start(self, number):
        """Starts a server, with the files that it had."""
        path = Path(self.directory.name) / str(number)
        path.mkdir(exist_ok=True)
        cluster = ""
        if len(self.processes) > 1:
            routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
            cluster = (f'cluster {{ name: e2e, listen: "127.0.0.1:{self.routes[number]}", '
                       f"routes: [{routes}] }}\n")
        config = path / "nats.conf"
        config.write_text(
            f'server_name: "n{number}"\nlisten: "127.0.0.1:{self.clients[number]}"\n'
            f'http: "127.0.0.1:{self.monitors[number]}"\n'
            f'jetstream {{ store_dir: "{path}" }}\n{cluster}{self.extra}')
        with open(path / "log", "ab") as log:
            self.processes[number] = subprocess.Popen(
                ["nats-server", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=log)

    def kill(self, number):
        """Ends a server as a loss of power does to its process."""
        self.processes[number].kill()
        self.processes[number].wait()

    def await_copies(self):
        """Waits until every copy of every stream has what its leader has."""
        harness.eventually("all copies are up to date", self._has_copies, 120)

    def _has_copies(self):
        with contextlib.suppress(OSError, ValueError):
            groups = [(number, name, group) for number in range(len(self.processes))
                      for name, group in self._groups(number)]
            # Only who leads a group knows of the copies.
            whole = {name for number, name, group in groups
                     if group.get("leader") == f"n{number}" and is_whole(group.get("replicas", ()))}
            return self._is_ready() and whole and whole == {name for _, name, _ in groups}
        return False

    def _groups(self, number):
        """The streams of a server, and their consumers, each with what is known of its copies."""
        for account in self._get(number, "jsz?streams=1&consumers=1").get("account_details", ()):
            for stream in account.get("stream_detail", ()):
                yield stream["name"], stream.get("cluster") or {}
                for consumer in stream.get("consumer_detail") or ():
                    yield f"{stream['name']} {consumer['name']}", consumer.get("cluster") or {}

    def _get(self, number, path):
        url = f"http://127.0.0.1:{self.monitors[number]}/{path}"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)

    def _is_ready(self):
        with contextlib.suppress(OSError, ValueError):
            if len(self.processes) == 1:
                return self._get(0, "varz").get("jetstream")
            states = [self._get(number, "jsz").get("meta_cluster", {})
                      for number in range(len(self.processes))]
            return all(state.get("leader") for state in states) and any(
                state.get("cluster_size") == len(states) and len(state.get("replicas", ())) ==
                len(states) - 1 for state in states)
        return False

    def end(self):
        """Ends all, and forgets their files."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.directory.cleanup()
