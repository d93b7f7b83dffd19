"""Who is compared: fxsrv's master, and what else one could put in its place."""

import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import processes

HERE = Path(__file__).resolve().parent

#: Debian's packages. The comparison installs nothing itself.
PACKAGES = {"haproxy": "haproxy", "nginx": "nginx libnginx-mod-stream", "stunnel": "stunnel4"}

#: What is compared with what: the first of all.
REFERENCE = "fxsrv-uring"

#: Longer than any measurement: nobody is to lose a connection that is idle on purpose.
IDLE = "600s"


@dataclass
class Site:
    """What all contenders share."""

    dir: Path
    fxsrv: Path
    helper: Path
    sinks: list
    cores: set
    connections: int
    sinks_used: int = 1
    certs: Path = field(init=False)
    token: Path = field(init=False)

    def __post_init__(self):
        self.certs, self.token = self.dir / "certs", self.dir / "token"


@dataclass
class Contender:
    """One configuration of one program, on one thread unless it says otherwise."""

    key: str
    name: str
    program: str
    options: list = field(default_factory=list)
    #: What it takes part in; it is left out where it has nothing to show.
    parts: tuple = ("bulk", "small", "memory")

    def start(self, site, threads=1):
        """Starts it, and returns its process and its address."""
        log = site.dir / f"{self.key}-{threads}.log"
        command, port = getattr(self, f"{self.program}_command")(site, threads)
        process = processes.Process(command, log, site.cores)
        if port is None:
            return process, process.line().removeprefix("listening on ")
        address = f"127.0.0.1:{port}"
        processes.eventually(
            f"{self.name} listens: {process.said()}",
            lambda: is_served(port) or not process.is_alive())
        if not process.is_alive():
            raise RuntimeError(f"{self.name} did not start: {process.said()}")
        return process, address

    def fxsrv_command(self, site, threads):
        return [site.fxsrv, "master", "--listen", "127.0.0.1:0", "--log", "warn",
                "--certs", site.certs, "--token-file", site.token,
                *(part for sink in site.sinks[:site.sinks_used] for part in ("--worker", sink)),
                "--threads", threads, "--idle-timeout", IDLE, "--header-timeout", IDLE,
                *self.options], None

    def tokio_command(self, site, threads):
        return [site.helper, "tunnel", "--certs", site.certs, "--upstream", site.sinks[0],
                *self.options], None

    def haproxy_command(self, site, threads):
        port = free_port()
        conf = write_conf(site, self.key, "haproxy.cfg", port=port, bufsize=" ".join(self.options))
        return ["haproxy", "-db", "-f", conf], port

    def nginx_command(self, site, threads):
        port = free_port()
        conf = write_conf(
            site, self.key, "nginx.conf", port=port, buffer=self.options[0],
            descriptors=2 * site.connections + 64, user="user root;" if os.geteuid() == 0 else "")
        return ["nginx", "-c", conf, "-e", "stderr"], port

    def stunnel_command(self, site, threads):
        port = free_port()
        conf = write_conf(site, self.key, "stunnel.conf", port=port, between=free_port())
        return [shutil.which("stunnel4") or "stunnel", conf], port


def everyone(fxsrv):
    """All contenders, the reference first."""
    ours = [Contender(f"fxsrv-{io}", f"fxsrv, {io}", "fxsrv", ["--io", io])
            for io in ("uring", "epoll")]
    if "--bulk-buffers" in text_of(fxsrv, "master", "--help"):
        ours += [
            Contender(f"fxsrv-{io}-64k", f"fxsrv, {io}, 64 KiB only", "fxsrv",
                      ["--io", io, "--bulk-buffers", "0"], ("bulk",))
            for io in ("uring", "epoll")]
    if "--register-buffers" in text_of(fxsrv, "master", "--help"):
        ours.append(Contender(
            "fxsrv-uring-64k-plain", "fxsrv, uring, 64 KiB only, not registered", "fxsrv",
            ["--io", "uring", "--bulk-buffers", "0", "--register-buffers", "false"], ("bulk",)))
    return [
        *ours,
        Contender("tokio-64k", "tokio-rustls, 64 KB copy loop", "tokio"),
        Contender("tokio-64k-ahead", "tokio-rustls, 64 KB, reading ahead", "tokio",
                  ["--read-bytes", "65536"]),
        Contender("tokio-pooled", "tokio-rustls, pooled upstream", "tokio", ["--pool"]),
        Contender("haproxy", "HAProxy, default", "haproxy"),
        Contender("haproxy-64k", "HAProxy, tune.bufsize 64K", "haproxy", ["tune.bufsize 65536"]),
        Contender("nginx-16k", "nginx stream, 16k", "nginx", ["16k"]),
        Contender("nginx-64k", "nginx stream, 64k", "nginx", ["64k"]),
        # A thread and, between its two services, a connection of its own for each client.
        Contender("stunnel", "stunnel", "stunnel", [], ("bulk", "small")),
    ]


def missing(contenders):
    """Debian's packages of the programs that are not here."""
    absent = []
    for program, package in PACKAGES.items():
        wanted = any(contender.program == program for contender in contenders)
        there = shutil.which(program) or shutil.which(f"{program}4")
        if program == "nginx" and there:
            there = any(Path("/etc/nginx/modules-enabled").glob("*stream.conf"))
        if wanted and not there:
            absent.append(package)
    return absent


def versions(fxsrv):
    """What every program says of itself."""
    said = {
        "fxsrv": text_of(fxsrv, "--version"),
        "haproxy": text_of("haproxy", "-v"),
        "nginx": text_of("nginx", "-v"),
        "stunnel": text_of(shutil.which("stunnel4") or "stunnel", "-version"),
        "openssl": text_of("openssl", "version"),
    }
    patterns = {
        "fxsrv": r"fxsrv (\S+)", "haproxy": r"version (\S+)", "nginx": r"nginx/(\S+)",
        "stunnel": r"stunnel (\S+)", "openssl": r"OpenSSL (\S+)"}
    found = {name: re.search(patterns[name], text) for name, text in said.items()}
    return {name: match[1] for name, match in found.items() if match}


def text_of(*command):
    """What a command prints, on either stream; nothing where it is not there."""
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        return ""
    return done.stdout + done.stderr


def write_conf(site, key, template, **values):
    """Fills a file of conf/ in."""
    text = (HERE / "conf" / template).read_text().format(
        certs=site.certs, sink=site.sinks[0], dir=site.dir, connections=site.connections, **values)
    path = site.dir / f"{key}-{template}"
    path.write_text(text)
    return path


def free_port():
    """A port that nobody has; in a network of its own nobody takes it either."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_served(port):
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
