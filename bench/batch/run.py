#!/usr/bin/env python3
"""What a batch costs beside its conversions, and how large jobs are submitted and asked for.

    bench/batch/run.py [--files N] [--rounds N] [--manifest N] [--to TYPE] [--dir DIR] [--out DIR]

The same files are converted in memory alone (`fxsrv-bench raw`), by `fxsrv batch run` from a directory to a directory, and by a worker
over a queue of one nats-server, in turns, so that a machine that is busy with other things slows all of them. CPU time is that of all
processes that a round starts, however they end. Needs Pillow; for the queue also nats-server.
"""

import argparse
import ctypes
import datetime
import io
import json
import os
import platform
import random
import resource
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
KINDS = 50
FILE_BYTES = 20_000
PR_SET_CHILD_SUBREAPER = 36

#: What the issue of batches asks for: CPU beside the conversion, and throughput beside it.
CPU_MS_MAX = 1.0
SHARE_MIN = 0.8

#: Between two looks whether a job is over: its part of a round's time at most.
LOOK_S = 0.02

#: Longest time of a round; what takes longer has come to a stand.
ROUND_S = 900


def pictures():
    """JPEG files of about 20 KB, each another picture: smooth colours under some noise."""
    from PIL import Image, ImageFilter
    rng = random.Random(1)
    for _ in range(KINDS):
        small = Image.new("RGB", (24, 16))
        small.putdata([tuple(rng.randrange(256) for _ in range(3)) for _ in range(24 * 16)])
        picture = small.resize((480, 320), Image.BICUBIC)
        noise = Image.effect_noise((480, 320), 24).convert("RGB")
        picture = Image.blend(picture, noise, 0.12).filter(ImageFilter.SHARPEN)
        # The quality that comes nearest to the size that is wanted.
        best = min((encode(picture, quality) for quality in range(30, 96, 3)),
                   key=lambda data: abs(len(data) - FILE_BYTES))
        yield best


def encode(picture, quality):
    """The picture as a JPEG file."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


class Round:
    """The processes of one round: what they are told to do, and the CPU time that they took. What a process leaves behind when it
    ends, such as one that converts for it, becomes this one's child, and is counted too."""

    def __init__(self):
        self.cpu_s = 0.0
        self.nats_cpu_s = None
        self.peak_bytes = 0
        self.running = {}

    def start(self, *command, **settings):
        """Begins a command that goes on."""
        process = subprocess.Popen([*map(str, command)], **settings)
        self.running[process.pid] = process
        return process

    def run(self, *command):
        """The output of a command, at its end."""
        process = self.start(*command, stdout=subprocess.PIPE)
        output = process.stdout.read()
        process.stdout.close()
        self.reap(process)
        if process.returncode != 0:
            sys.exit(f"error: {shlex.join(process.args)} ended with {process.returncode}")
        return output

    def end(self, process):
        """Ends what goes on."""
        process.terminate()
        self.reap(process)

    def reap(self, process):
        """Waits for the end of a command, and of what it left behind."""
        del self.running[process.pid]
        process.returncode = os.waitstatus_to_exitcode(self.wait(process.pid))
        for pid in children():
            if pid not in self.running:
                self.wait(pid)

    def wait(self, pid):
        """The status of a process that ended, once it has."""
        _, status, usage = os.wait4(pid, 0)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
        return status


def children():
    """All children of this process."""
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def raw(job):
    """Conversions in memory, and nothing else."""
    here = Round()
    told = json.loads(here.run(TARGET / "fxsrv-bench", "raw", job.source, "--to", job.to))
    assert (told["files"], told["failed"]) == (job.files, 0), told
    return told["seconds"], here


def batch(job, *args):
    """The same files from a directory to a directory, in one process."""
    here, started = Round(), time.monotonic()
    output = here.run(
        TARGET / "fxsrv", "batch", "run", job.source, job.results, "--to", job.to,
        "--journal", job.directory / "journal", "--json", *args)
    took = time.monotonic() - started
    told = json.loads(output.splitlines()[-1])
    assert told["converted"] == job.files, told
    return took, here


def batch_in_threads(job):
    """The same without processes of their own for conversions."""
    return batch(job, "--isolation", "thread")


def queue(job):
    """The same over a queue: a server, a worker, and a submission, all from their start to their end."""
    here = Round()
    with tempfile.TemporaryDirectory(prefix="fxsrv-nats-", dir=job.directory) as kept:
        nats = Nats(here, kept)
        with open(Path(kept) / "worker.log", "wb") as log:
            worker = here.start(
                TARGET / "fxsrv", "worker", "--listen", "127.0.0.1:0", "--certs", job.certs,
                "--queue", nats.url, "--queue-allow", job.directory, "--notice", "1ms", "--log", "warn",
                stdout=subprocess.PIPE, stderr=log)
            if not worker.stdout.readline():
                sys.exit("error: the worker has not begun: " + Path(log.name).read_text().strip())
            started = time.monotonic()
            here.run(TARGET / "fxsrv", "batch", "submit", job.source, job.results, "--to", job.to,
                     "--job", "bench", "--nats", nats.url)
            while nats.messages("FXSRV_WORK"):
                if time.monotonic() - started > ROUND_S:
                    sys.exit("error: the job does not end: " + Path(log.name).read_text().strip())
                time.sleep(LOOK_S)
            took = time.monotonic() - started
            assert nats.messages("FXSRV_FAILED_bench") == 0
            here.end(worker)
            worker.stdout.close()
        before = here.cpu_s
        nats.end()
        here.nats_cpu_s = here.cpu_s - before
    found = sum(1 for _ in job.results.iterdir())
    assert found == job.files, found
    return took, here


class Nats:
    """One server with JetStream, which keeps its streams in a directory."""

    def __init__(self, here, directory):
        self.here = here
        ports = free_ports(2)
        self.url, self.monitor = f"nats://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        self.process = here.start(
            "nats-server", "-js", "-a", "127.0.0.1", "-p", ports[0], "-m", ports[1], "-sd", directory,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", ports[0])) == 0:
                    return
            time.sleep(0.05)
        sys.exit("error: nats-server does not listen")

    def messages(self, stream):
        """How many messages a stream has."""
        with urllib.request.urlopen(f"{self.monitor}/jsz?streams=1", timeout=10) as answer:
            accounts = json.load(answer)["account_details"]
        found = {each["name"]: each["state"]["messages"]
                 for account in accounts for each in account["stream_detail"]}
        return found[stream]

    def end(self):
        """Ends it."""
        self.here.end(self.process)


def free_ports(count):
    """Ports that nobody has."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Job:
    """The files of all rounds."""

    def __init__(self, directory, files, to):
        self.directory, self.files, self.to, self.cleared = directory, files, to, 0
        self.source, self.results, self.certs = (directory / name for name in ("in", "out", "certs"))
        self.source.mkdir()
        bodies = list(pictures())
        for number in range(files):
            (self.source / f"{number}.jpg").write_bytes(bodies[number % KINDS])
        self.mean_bytes = round(statistics.mean(map(len, bodies)))
        Round().run(TARGET / "fxsrv", "certs", "init", "--dir", self.certs, "--name", "localhost")

    def clear(self):
        """Empties the results, and lets the disk come to rest, which is no part of any round. Names stay until the end: an ext4
        without a journal looks long for inodes that were not deleted lately, and a round would pay for the one before."""
        if self.results.exists():
            sizes = []
            for path in self.results.iterdir():
                sizes.append(path.stat().st_size)
                os.truncate(path, 0)
            self.result_bytes = round(statistics.mean(sizes))
            self.cleared += 1
            self.results.rename(self.directory / f"cleared-{self.cleared}")
        os.sync()


def measure(job, rounds):
    """Rounds of each way, in turns."""
    ways = {"raw": raw, "batch run": batch, "batch run, in threads": batch_in_threads}
    if shutil.which("nats-server"):
        ways["queue"] = queue
    found = {name: {"s": [], "cpu_s": [], "peak_mb": []} for name in ways}
    for number in range(rounds):
        # Each way is first and last in turn: what a disk or a neighbour does meanwhile meets all.
        order = list(ways.items())
        for name, way in order[number % len(order):] + order[:number % len(order)]:
            took, here = way(job)
            job.clear()
            found[name]["s"].append(round(took, 3))
            found[name]["cpu_s"].append(round(here.cpu_s, 3))
            if here.nats_cpu_s is not None:
                found[name].setdefault("nats_cpu_s", []).append(round(here.nats_cpu_s, 3))
            found[name]["peak_mb"].append(round(here.peak_bytes / 1e6))
            print(f"round {number + 1}, {name}: {took:.2f} s, CPU {here.cpu_s:.2f} s", file=sys.stderr)
    alone = found["raw"]
    for name, way in found.items():
        if name != "raw":
            way["cpu_ms_beyond"] = spread(
                (own - base) / job.files * 1000 for own, base in zip(way["cpu_s"], alone["cpu_s"]))
            way["share_of_raw"] = spread(base / own for own, base in zip(way["s"], alone["s"]))
            # What is left of the throughput where all cores are busy all the time, whatever neighbours do meanwhile.
            way["share_by_cpu"] = spread(base / own for own, base in zip(way["cpu_s"], alone["cpu_s"]))
    return {"files": job.files, "mean_bytes": job.mean_bytes, "result_bytes": job.result_bytes,
            "to": job.to, "rounds": rounds, "ways": found}


def spread(values):
    """Median, least and most."""
    values = sorted(values)
    return [round(value, 3) for value in (statistics.median(values), values[0], values[-1])]


def measure_manifest(directory, count):
    """A manifest of many files on a queue of one server: memory, time, and how long a question takes."""
    server = Round()
    nats = Nats(server, directory / "nats")
    manifest = directory / "list"
    with manifest.open("w") as out:
        for number in range(count):
            out.write(f"s3://bucket/scans/2026/{number % 1000:03}/{number}.png\n")
    here, started = Round(), time.monotonic()
    here.running = server.running
    here.run(TARGET / "fxsrv", "batch", "submit", manifest, "s3://bucket/out/", "--to", "jpg",
             "--job", "large", "--nats", nats.url)
    took = time.monotonic() - started
    asked = []
    for _ in range(5):
        began = time.monotonic()
        one = Round()
        one.running = server.running
        told = json.loads(one.run(
            TARGET / "fxsrv", "batch", "status", "large", "--json", "--nats", nats.url))
        asked.append(round(time.monotonic() - began, 3))
        assert (told["total"], told["pending"]) == (count, count), told
    nats.end()
    return {"files": count, "submit_s": round(took, 1), "submit_cpu_s": round(here.cpu_s, 1),
            "server_cpu_s": round(server.cpu_s, 1), "submit_peak_mb": round(here.peak_bytes / 1e6),
            "status_s": asked}


def machine():
    """What it was measured on."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}"


def versions():
    """Of all that takes part."""
    def told(*command):
        if not shutil.which(str(command[0])):
            return None
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=ROOT)
        return (done.stdout or done.stderr).strip()
    commit = told("git", "rev-parse", "--short", "HEAD")
    if told("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    return {"commit": commit, "fxsrv": told(TARGET / "fxsrv", "--version").splitlines()[0],
            "nats-server": told("nats-server", "--version")}


def row(name, way):
    """A line of the table."""
    def of(values):
        return "{} ({}-{})".format(*values)
    least = [spread(way["s"]), spread(way["cpu_s"])]
    beyond, share, by_cpu = (
        of(way[key]) if key in way else "" for key in ("cpu_ms_beyond", "share_of_raw", "share_by_cpu"))
    return f"| {name} | {of(least[0])} | {of(least[1])} | {beyond} | {share} | {by_cpu} | {max(way['peak_mb'])} |"


def report(data):
    """The page of a run."""
    one, told = data["run"], data["versions"]
    lines = [
        f"# Batches, {data['date']}", "",
        f"Commit {told['commit']}, {told['fxsrv']}, {told['nats-server'] or 'no nats-server'}. {data['machine']}, load average "
        f"at the start {data['load_before']}. `{data['command']}`, {one['rounds']} rounds in turns. Medians, and in parentheses the "
        "least and the most.", "",
        f"{one['files']} JPG files of {one['mean_bytes']} bytes to {one['to'].upper()} of {one['result_bytes']} bytes on the mean. Raw is "
        "the same conversions in memory, on all cores, without reading or writing; the others go from a directory to a directory of "
        f"{data['disk']}. CPU is that of all processes: of the queue also nats-server, the submission and the worker's start.", "",
        "| way | s | CPU s | CPU ms a file beyond raw | throughput of raw's | the same by CPU | peak MB of a process |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(row(name, way) for name, way in one["ways"].items()), "",
        *doubts(data), f"The goals are at most {CPU_MS_MAX:.0f} ms and at least {SHARE_MIN}:", "",
    ]
    for name, way in one["ways"].items():
        if name != "raw":
            is_cheap = way["cpu_ms_beyond"][0] <= CPU_MS_MAX
            is_fast, is_lean = (way[key][0] >= SHARE_MIN for key in ("share_of_raw", "share_by_cpu"))
            lines.append(f"- {name}: CPU {verdict(is_cheap)}, throughput {verdict(is_fast)}, by CPU {verdict(is_lean)}")
    nats = one["ways"].get("queue", {}).get("nats_cpu_s")
    if nats:
        least, most = (round(value / one["files"] * 1000, 2) for value in (min(nats), max(nats)))
        lines += ["", f"Of the queue's CPU nats-server took {least} to {most} ms a file."]
    two = data.get("manifest")
    if two:
        lines += [
            "", f"A manifest of {two['files']} lines, submitted to one nats-server:", "",
            f"- {two['submit_s']} s, {two['submit_cpu_s']} s of CPU and {two['server_cpu_s']} s of the server's, peak memory "
            f"**{two['submit_peak_mb']} MB** (goal: below 100)",
            f"- `fxsrv batch status`: {two['status_s']} s (goal: below 1)",
        ]
    return "\n".join(lines) + "\n"


def doubts(data):
    """What speaks against the times."""
    loads = data["load_before"], data.get("load_after", 0)
    if max(loads) <= os.cpu_count():
        return []
    return [f"Others used the machine (load average {loads[0]} before and {loads[1]} after): times by the clock, and their ratios, say little. By "
            "CPU is what would be left of the throughput where all cores are always busy.", ""]


def verdict(is_reached):
    """In words."""
    return "reached" if is_reached else "**not reached**"


def disk(path):
    """The kind of file system that a path is on."""
    done = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "an unknown file system"


def main():
    """Does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--manifest", type=int, default=1_000_000)
    parser.add_argument("--to", default="png")
    parser.add_argument("--dir", type=Path, help="where files and results are kept meanwhile")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    data = {"date": datetime.date.today().isoformat(), "versions": versions(), "machine": machine(),
            "load_before": round(os.getloadavg()[0], 2), "disk": disk(args.dir or tempfile.gettempdir()),
            "command": shlex.join(["just", "bench-batch", *sys.argv[1:]])}
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(prefix="fxsrv-batch-", dir=args.dir) as directory:
        data["run"] = measure(Job(Path(directory), args.files, args.to), args.rounds)
    data["load_after"] = round(os.getloadavg()[0], 2)
    if args.manifest and shutil.which("nats-server"):
        with tempfile.TemporaryDirectory(prefix="fxsrv-batch-", dir=args.dir) as directory:
            data["manifest"] = measure_manifest(Path(directory), args.manifest)
    out = args.out or ROOT / "results" / "batch" / data["date"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").write_text(json.dumps(data, indent=1) + "\n")
    (out / "README.md").write_text(report(data))
    print(report(data))


if __name__ == "__main__":
    main()
