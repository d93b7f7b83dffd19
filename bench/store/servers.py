"""The servers that are compared, each as a process whose CPU time and memory can be read."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_S = 20

NGINX_CONF = """
{user}
daemon off;
worker_processes 1;
error_log stderr warn;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile off;
    tcp_nodelay on;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certs}/server.pem;
        ssl_certificate_key {certs}/server.key;
        ssl_protocols TLSv1.3;
        root {root};
    }}
}}
"""


class Server:
    """A process that serves on a port of loopback until it is ended."""

    def __init__(self, name: str, command: list, pid_of=None, port: int | None = None):
        self.name = name
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if port is None:
            told = re.match(r"listening on 127\.0\.0\.1:(\d+)", self.process.stdout.readline())
            if not told:
                sys.exit(f"error: {name} does not serve: {self.process.stderr.read()}")
            port = int(told[1])
        self.address = ("127.0.0.1", port)
        self.pid = pid_of(self.process.pid) if pid_of else self.process.pid

    def cpu_s(self) -> float:
        """User and system time of all its threads, those that have ended included, in nanoseconds' grain."""
        return time.clock_gettime((~self.pid) << 3 | 2)

    def kernel_share(self) -> float:
        """The kernel's part of that time, as its clock's ticks have sampled it."""
        user, system = map(int, Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        return system / max(1, user + system)

    def memory_kib(self, field: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)[1])

    def forget_peak(self) -> None:
        """From now on VmHWM is the peak since this moment."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception) -> None:
        self.end()


def fxsrv(binary: Path, root: Path, certs: Path, *flags: str, name: str = "fxsrv") -> Server:
    command = [binary, "store", "--root", root, "--certs", certs, "--listen", "127.0.0.1:0"]
    return Server(name, [*command, "--log", "warn", *flags])


def python(root: Path, certs: Path, *flags: str, name: str = "python") -> Server:
    command = [sys.executable, HERE / "python_server.py", root, certs / "server.pem", certs / "server.key"]
    return Server(name, [*command, *flags])


def nginx(root: Path, certs: Path, folder: Path) -> Server:
    port = free_port()
    folder.mkdir(exist_ok=True)
    conf = folder / "nginx.conf"
    # The files are for their owner alone, and a worker of root's nginx would be somebody else.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    conf.write_text(NGINX_CONF.format(user=user, folder=folder, certs=certs, root=root, port=port))
    return Server("nginx", [nginx_binary(), "-p", folder, "-c", conf], only_child, port)


def nginx_binary() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def only_child(pid: int) -> int:
    """The worker of an nginx: its master does no work."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    sys.exit("error: nginx has started no worker")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
