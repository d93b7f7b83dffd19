#!/usr/bin/env python3
"""What a process of its own costs a conversion, beside a thread of the worker.

Two workers, the same but for --isolation, each with one slot and one event loop. In turns, the same
files are sent to both over kept connections, one request at a time: a round is some requests of a job
to the one, and then to the other, the first of them changing every round. Of each job the median
time of a request and the CPU time (worker and its children) are compared round by round, and the
medians of the differences are what is said. The first round warms caches up.

Then children are killed, and it is measured how long it takes until there is another; and how long
`fxsrv convert` takes by itself with one and with the other.

    bench/isolation/run.py [--rounds 21] [--bin target/release/fxsrv]

Prints the figures, keeps them in results/isolation/<date>.json and .md, and shows them in
docs/isolation.md.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "isolation.md"
BEGIN, END = "<!-- bench:isolation -->", "<!-- /bench -->"
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import client_v1  # noqa: E402
import client_v1_1  # noqa: E402
import harness  # noqa: E402

MODES = ("thread", "process")

#: The goals: microseconds a request, and the share of CPU time on files of 1 MB.
GOAL_US, GOAL_CPU = 150, 0.05


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height):
    """Smooth areas with noise on them, as photos have: random bytes would be no codec's usual work."""
    rng, rows = random.Random(7), bytearray()
    noise = rng.randbytes(3 * width + 4096)
    for y in range(height):
        start = rng.randrange(4096)
        row = (((x * 3 + y * 2) // 16 + (noise[start + x] & 7)) & 255 for x in range(3 * width))
        rows += b"\0" + bytes(row)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + chunk(b"IEND", b""))


def near(size, make):
    """What `make(side)` gives of about `size` bytes."""
    side = 600
    for _ in range(4):
        made = make(side)
        side = int(side * (size / len(made)) ** 0.5)
    return make(side)


class Worker(harness.Server):
    """A worker of one slot, on a connection that stays."""

    def __init__(self, directory, certs, binary, mode):
        self.mode = mode
        super().__init__(
            directory, "worker", "--listen", "127.0.0.1:0", "--certs", certs, "--slots", "1",
            "--threads", "1", "--isolation", mode, "--log", "error", binary=binary)
        context = client_v1.tls_context(
            certs / "ca.pem", (certs / "client.pem", certs / "client.key"))
        self.connection = client_v1_1.Connection(self.address(), context, "any")

    def convert(self, operation, body):
        started = time.perf_counter()
        self.connection.convert(operation, body, checksum="none")
        return (time.perf_counter() - started) * 1e6

    def all_cpu_us(self):
        """Of the worker and of its children, in the kernel's exact count."""
        return sum(exact_cpu_ns(pid) for pid in [self.pid, *self.children()]) / 1e3


def exact_cpu_ns(pid):
    """Time on a processor of all threads."""
    return sum(
        int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        for task in os.listdir(f"/proc/{pid}/task"))


def jobs(directory, binary):
    """Name, operation, body and requests of a round."""
    files = {}

    def converted(to, body, suffix, *flags):
        source, result = directory / f"source.{suffix}", directory / f"made.{to}"
        source.write_bytes(body)
        subprocess.run([binary, "convert", source, "--to", to, "-o", result, "-f", *flags],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return result.read_bytes()
    files["jpg"] = near(1_000_000, lambda side: converted(
        "jpg", png(4 * side // 3, side), "png", "--quality", "92"))
    files["png"] = near(1_000_000, lambda side: png(4 * side // 3, side))
    small = converted("jpg", png(80, 60), "png")
    text = ("Of conversion and its ends, line after line. " * 2 + "\n").encode()
    yield "1 MB JPG to WEBP", client_v1.TO_WEBP, files["jpg"], 3
    yield "1 MB JPG to PNG", client_v1.TO_PNG, files["jpg"], 3
    yield "1 MB PNG to JPG", client_v1.TO_JPG, files["png"], 3
    yield "1 MB text to PDF", client_v1.TEXT_TO_PDF, text * (1_000_000 // len(text)), 2
    yield "1 MB PDF to text", client_v1.PDF_TO_TEXT, near_pdf(converted, text), 3
    yield f"{len(small)} bytes of JPG to PNG", client_v1.TO_PNG, small, 60
    yield "90 bytes of text to PDF", client_v1.TEXT_TO_PDF, text, 60


def near_pdf(converted, text):
    """A PDF of about 1 MB: as much text as that takes."""
    lines = 5_000
    for _ in range(3):
        made = converted("pdf", text * lines, "txt")
        lines = max(1, int(lines * 1_000_000 / len(made)))
    return converted("pdf", text * lines, "txt")


def measure(workers, job, rounds):
    """Medians and CPU times of each round, by mode."""
    _, operation, body, requests = job
    found = []
    for number in range(rounds + 1):
        figures = {}
        for worker in workers if number % 2 else reversed(workers):
            before = worker.all_cpu_us()
            times = [worker.convert(operation, body) for _ in range(requests)]
            figures[worker.mode] = {
                "us": statistics.median(times), "cpu_us": (worker.all_cpu_us() - before) / requests}
        if number > 0:
            found.append(figures)
    return found


def summed_up(name, rounds):
    """One line of the table."""
    def column(mode, key):
        return [figures[mode][key] for figures in rounds]
    more_us = [figures["process"]["us"] - figures["thread"]["us"] for figures in rounds]
    more_cpu = [figures["process"]["cpu_us"] / figures["thread"]["cpu_us"] - 1 for figures in rounds]
    quarters_us, quarters_cpu = (statistics.quantiles(more, n=4) for more in (more_us, more_cpu))
    return {
        "job": name, "thread_us": statistics.median(column("thread", "us")),
        "process_us": statistics.median(column("process", "us")),
        "more_us": quarters_us, "more_cpu": quarters_cpu,
        "thread_cpu_us": statistics.median(column("thread", "cpu_us")), "rounds": rounds}


def respawns(worker, count):
    """Milliseconds from the end of a child until its place is taken by one that is ready."""
    found = []

    def children():
        text = worker.connection.convert(client_v1_1.STATUS, b"").decode()
        lines = dict(line.split("=", 1) for line in text.splitlines())
        return int(lines["children"]), int(lines["children_started"])
    for _ in range(count):
        wanted, started = children()
        victim = worker.children()[0]
        os.kill(victim, signal.SIGKILL)
        killed = time.perf_counter()
        while children() != (wanted, started + 1):
            pass
        found.append((time.perf_counter() - killed) * 1e3)
    return sorted(found)


def one_shots(binary, directory, rounds):
    """Milliseconds of a whole `fxsrv convert` of a small text, by mode."""
    source = directory / "one.txt"
    source.write_text("one line\n")
    found = {mode: [] for mode in MODES}
    for number in range(2 * rounds):
        for mode in MODES if number % 2 else reversed(MODES):
            started = time.perf_counter()
            subprocess.run(
                [binary, "convert", source, "--to", "pdf", "-f", "--isolation", mode], check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            found[mode].append((time.perf_counter() - started) * 1e3)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--bin", type=lambda path: Path(path).resolve(), default=ROOT / "target" / "release" / "fxsrv")
    parser.add_argument("--no-record", action="store_true", help="print alone")
    args = parser.parse_args()
    # Whoever ends this ends its workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["FXSRV_BIN"] = str(args.bin.resolve())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        certs = directory / "certs"
        harness.run("certs", "init", "--dir", certs, "--name", "localhost", "--name", "127.0.0.1")
        all_jobs = list(jobs(directory, args.bin))
        workers = [Worker(directory / mode, certs, args.bin, mode) for mode in MODES]
        try:
            table = []
            for job in all_jobs:
                table.append(summed_up(job[0], measure(workers, job, args.rounds)))
                print(row(table[-1]), flush=True)
            ready_ms = respawns(workers[1], 2 * args.rounds)
        finally:
            for worker in workers:
                worker.connection.close()
                worker.end()
        shots = one_shots(args.bin, directory, args.rounds)
    text = report(args, table, ready_ms, shots)
    print(text)
    if not args.no_record:
        folder = ROOT / "results" / "isolation"
        folder.mkdir(parents=True, exist_ok=True)
        date = datetime.date.today().isoformat()
        (folder / f"{date}.md").write_text(f"# Conversions in processes of their own, {date}\n\n{text}")
        (folder / f"{date}.json").write_text(json.dumps(
            {"jobs": table, "ready_ms": ready_ms, "convert_ms": shots}, indent=1) + "\n")
        before, rest = DOCUMENT.read_text().split(BEGIN, 1)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


def row(line):
    low, middle, high = line["more_us"]
    cpu_low, cpu, cpu_high = (100 * share for share in line["more_cpu"])
    return (f"| {line['job']} | {line['thread_us'] / 1e3:.2f} | {middle:+.0f} ({low:+.0f} to {high:+.0f}) "
            f"| {cpu:+.1f} ({cpu_low:+.1f} to {cpu_high:+.1f}) |")


def report(args, table, ready_ms, shots):
    """The run in Markdown."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True)
    middle = {mode: statistics.median(times) for mode, times in shots.items()}
    more = statistics.median(
        process - thread for thread, process in zip(shots["thread"], shots["process"]))
    lines = [
        "| job | in a thread, ms | in a process, us more | CPU, % more |", "|---|---:|---:|---:|",
        *(row(line) for line in table), "",
        f"Medians of {args.rounds} rounds, with quarters in parentheses; the goal is at most {GOAL_US} us and "
        f"{GOAL_CPU:.0%} on 1 MB.", "",
        f"A child that is killed is replaced by one that is ready within {statistics.median(ready_ms):.1f} ms "
        f"(least {ready_ms[0]:.1f}, most {ready_ms[-1]:.1f}, of {len(ready_ms)}).", "",
        f"`fxsrv convert` of one line of text: {middle['thread']:.1f} ms with threads, "
        f"{middle['process']:.1f} ms with processes; {more:+.1f} ms in the median of pairs.", "",
        f"On {model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, kernel "
        f"{platform.release()}, commit {commit.strip()}, by `just bench-isolation`."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
