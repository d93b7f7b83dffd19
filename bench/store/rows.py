"""What is measured: one function a row. Each returns a list of rounds, and a round is a figure for each contender."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import clients
import servers

MB = 1_000_000

KERNEL = "fxsrv's kernel time alone"

# GETs in one send, where a client has many to ask for; `fxsrv get` asks for as many.
TOGETHER = 64


class Bench:
    """The places and programs of a run."""

    def __init__(self, binary: Path, folder: Path, rounds: int, quick: bool):
        self.binary, self.folder, self.rounds, self.quick = binary, folder, rounds, quick
        self.certs, self.root = folder / "certs", folder / "files"
        subprocess.run(
            [binary, "certs", "init", "--dir", self.certs, "--name", "localhost"],
            check=True, capture_output=True,
        )
        self.root.mkdir()
        self.tls = clients.context(str(self.certs / "ca.pem"))
        self.large = 20 * MB if quick else 100 * MB

    def store(self, *flags: str, root: Path | None = None, name: str = "fxsrv") -> servers.Server:
        return servers.fxsrv(self.binary, root or self.root, self.certs, *flags, name=name)

    def connect(self, server: servers.Server, count: int = 1) -> list:
        return [clients.connect(server.address, self.tls) for _ in range(count)]

    def put(self, server: servers.Server, files: dict) -> None:
        (connection,) = self.connect(server)
        for name, data in files.items():
            connection.sendall(clients.put_request(name, data))
            if connection.recv(1) != b"\0":
                sys.exit(f"error: {name} was refused")
        connection.close()

    def scale(self, count: int) -> int:
        return max(64, count // 10) if self.quick else count


def alternate(bench: Bench, measures: dict) -> list[dict]:
    """One warm-up of each, then rounds, in an order that rotates."""
    for measure in measures.values():
        measure()
    names, rounds = list(measures), []
    for turn in range(bench.rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        rounds.append({name: measures[name]() for name in order})
    return rounds


def get_contenders(bench: Bench) -> list:
    """Servers over the same files, and how each is asked."""
    return [
        (bench.store(), clients.StoreGet()),
        (servers.nginx(bench.root, bench.certs, bench.folder / "nginx"), clients.HttpGet()),
        (servers.python(bench.root, bench.certs), clients.StoreGet()),
    ]


def get_cpu(bench: Bench, names: list, size: int, connections: int, counts: dict, together: int = 1) -> list[dict]:
    """CPU seconds of the server for one request."""
    contenders = get_contenders(bench)
    measures = {}
    for server, protocol in contenders:
        opened = bench.connect(server, connections)
        if isinstance(protocol, clients.HttpGet):
            protocol.learn(opened[0], names[0], size)
        count = counts[server.name]

        def measure(server=server, protocol=protocol, opened=opened, count=count) -> float:
            before = server.cpu_s()
            if together > 1:
                clients.get_pipelined(opened[0], protocol, names, size, count, together)
            else:
                clients.get_many(opened, protocol, names, size, count)
            return (server.cpu_s() - before) / count

        measures[server.name] = measure
    rounds = alternate(bench, measures)
    # What a server would be at that had no code of its own.
    share = contenders[0][0].kernel_share()
    for turn in rounds:
        turn[KERNEL] = turn["fxsrv"] * share
    for server, _ in contenders:
        server.end()
    return rounds


def get_large(bench: Bench) -> list[dict]:
    """CPU seconds for each GB of one large file, from the page cache, on one connection."""
    with bench.store("--durability", "none") as server:
        bench.put(server, {"large": random.Random(1).randbytes(bench.large)})
    count = 1 if bench.quick else 3
    rounds = get_cpu(bench, ["large"], bench.large, 1, {"fxsrv": count, "nginx": count, "python": 1})
    return [{name: cpu / bench.large * 1e9 for name, cpu in turn.items()} for turn in rounds]


def get_small(bench: Bench, connections: int, together: int = 1) -> list[dict]:
    """Requests of 1 KB for each CPU second, on connections that persist."""
    files = {f"small-{number}": random.Random(number).randbytes(1024) for number in range(100)}
    with bench.store("--durability", "none") as server:
        bench.put(server, files)
    count = bench.scale(20_000)
    # Whole sends.
    counts = {name: -(-wanted // together) * together for name, wanted in {
        "fxsrv": count, "nginx": count, "python": max(64, count // 4)}.items()}
    rounds = get_cpu(bench, list(files), 1024, connections, counts, together)
    return [{name: 1 / cpu for name, cpu in turn.items()} for turn in rounds]


def put_small(bench: Bench) -> list[dict]:
    """PUTs of 1 KB a second with 64 clients, each on the disk before it is acknowledged."""
    roots = {name: bench.folder / f"put-{name}" for name in ("fxsrv", "python", "one")}
    for root in roots.values():
        root.mkdir()
    with (
        bench.store(root=roots["fxsrv"]) as ours,
        servers.python(roots["python"], bench.certs, "--sync") as theirs,
    ):
        opened = {server.name: bench.connect(server, 64) for server in (ours, theirs)}

        def through(server: servers.Server, count: int) -> float:
            started = time.monotonic()
            clients.put_many(opened[server.name], 1024, count)
            return count / (time.monotonic() - started)

        count = bench.scale(10_000)
        return alternate(bench, {
            "fxsrv": lambda: through(ours, count),
            "one at a time": lambda: one_at_a_time(roots["one"], bench.scale(1_000)),
            "python, each for itself": lambda: through(theirs, count // 4),
        })


def one_at_a_time(root: Path, count: int) -> float:
    """What the disk gives to files that are each synced for itself: no network, no TLS, just the calls."""
    directory, data = os.open(root, os.O_RDONLY), bytes(1024)
    started = time.monotonic()
    for _ in range(count):
        file = os.open(root / "draft", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        os.write(file, data)
        os.fsync(file)
        os.close(file)
        os.rename(root / "draft", root / next(clients.NEW_NAMES))
        os.fsync(directory)
    os.close(directory)
    return count / (time.monotonic() - started)


def numbers(bench: Bench) -> bytes:
    """Numbers as programs write them: some short, some with all their digits."""
    dice, lines, size = random.Random(5), [], 0
    block = [f"{dice.uniform(-1e4, 1e4)!r}\n" if dice.random() < 0.5 else f"{dice.uniform(-999, 999):.3f}\n"
             for _ in range(100_000)]
    text = "".join(block).encode()
    while size < bench.large:
        lines.append(text)
        size += len(text)
    return b"".join(lines)


def summary(bench: Bench) -> tuple[list[dict], list[dict]]:
    """CPU seconds for a SUMMARY of numbers, and the most memory that it took the server, also of a file ten times
    as large."""
    with bench.store("--durability", "none") as server:
        text = numbers(bench)
        bench.put(server, {"numbers": text, "numbers-x10": text * 10})
    with bench.store() as server:
        (connection,) = bench.connect(server)

        def ours(name: str) -> float:
            server.forget_peak()
            before = server.cpu_s()
            connection.sendall(bytes([3 << 5 | len(name)]) + name.encode())
            if connection.recv(2048)[0] >> 5 != 2:
                sys.exit("error: the summary was refused")
            return server.cpu_s() - before

        def theirs() -> float:
            command = [sys.executable, servers.HERE / "float_loop.py", bench.root / "numbers"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return float(done.stdout.split()[3])

        def peak(name: str) -> float:
            ours(name)
            return server.memory_kib("VmHWM") / 1024

        speed = alternate(bench, {"fxsrv": lambda: ours("numbers"), "python float(line)": theirs})
        peaks = alternate(bench, {
            "peak": lambda: peak("numbers"), "peak, ten times as large": lambda: peak("numbers-x10")})
        return speed, peaks


def memory(bench: Bench) -> list[dict]:
    """KiB that each of 200 connections adds, idle and with a GET of a large file in flight that nobody reads."""
    with bench.store("--durability", "none") as server:
        bench.put(server, {"one": bytes(1024), "large": random.Random(1).randbytes(bench.large)})
    rounds, count = [], 200
    for turn in range(bench.rounds):
        driver = ("uring", "epoll")[turn % 2]
        with bench.store("--io", driver) as server:
            # What the first connections bring into memory, of the program above all, is not the connections'.
            first = bench.connect(server, 8)
            for connection in first:
                connection.sendall(clients.HELP)
                connection.recv(clients.HELP_BYTES)
                connection.sendall(clients.StoreGet().request("one"))
                clients.read_away(connection, clients.StoreGet().answer_bytes("one", 1024), bytearray(2048))
                connection.close()
            before = server.memory_kib()
            opened = bench.connect(server, count)
            for connection in opened:
                connection.sendall(clients.HELP)
                connection.recv(clients.HELP_BYTES)
            idle = server.memory_kib()
            server.forget_peak()
            for connection in opened:
                connection.sendall(clients.StoreGet().request("large"))
            settle(server)
            flying = server.memory_kib("VmHWM")
            # A ring's buffers are in memory from the start; those of epoll come with their first use, and are in this.
            beside = "beside the pool" if driver == "uring" else "with what it uses of the pool"
            rounds.append({
                f"{driver}, idle": (idle - before) / count,
                f"{driver}, GET in flight, {beside}": (flying - before) / count,
                f"{driver}, whole process (MiB)": flying / 1024,
            })
            for connection in opened:
                connection.close()
    return rounds


def settle(server: servers.Server) -> None:
    """Waits until it has nothing more to do."""
    quiet = 0
    while quiet < 3:
        before = server.cpu_s()
        time.sleep(0.1)
        quiet = quiet + 1 if server.cpu_s() - before < 0.002 else 0
