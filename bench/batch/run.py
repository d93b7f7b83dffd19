#!/usr/bin/env python3
"""What a batch costs beside its conversions, and how large jobs are submitted and asked for.

    bench/batch/run.py [--files N] [--rounds N] [--manifest N] [--out DIR]

The same files are converted in memory alone (`fxsrv-bench raw`) and by `fxsrv batch run` from a directory to a directory, in turns, so
that a machine that is busy with other things slows both. Needs Pillow; for the part on the queue also nats-server.
"""

import argparse
import datetime
import io
import json
import os
import platform
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
KINDS = 50
FILE_BYTES = 20_000


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


def run(*command):
    """Output, wall clock, CPU time and peak memory of a command."""
    started = time.monotonic()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - started
    if process.returncode != 0:
        sys.exit(f"error: {command[:3]} ended with {process.returncode}")
    return output, took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def measure_run(directory, files, rounds):
    """Rounds of raw conversions and of a batch, in turns."""
    source = directory / "in"
    source.mkdir()
    bodies = list(pictures())
    for number in range(files):
        (source / f"{number}.jpg").write_bytes(bodies[number % KINDS])
    size = statistics.mean(len(body) for body in bodies)
    raw, batch = [], []
    for number in range(rounds):
        output, _, cpu, _ = run(TARGET / "fxsrv-bench", "raw", source, "--to", "png")
        told = json.loads(output)
        assert told["failed"] == 0, told
        raw.append((told["seconds"], cpu))
        results = directory / "out"
        output, took, cpu, peak = run(
            TARGET / "fxsrv", "batch", "run", source, results, "--to", "png",
            "--journal", directory / "journal", "--json")
        told = json.loads(output.splitlines()[-1])
        assert told["converted"] == files, told
        batch.append((took, cpu, peak))
        shutil.rmtree(results)
    per_file = [(b[1] - r[1]) / files * 1000 for r, b in zip(raw, batch)]
    share = [r[0] / b[0] for r, b in zip(raw, batch)]
    return {
        "files": files, "mean_bytes": round(size), "rounds": rounds,
        "raw_s": [round(r[0], 2) for r in raw], "raw_cpu_s": [round(r[1], 2) for r in raw],
        "batch_s": [round(b[0], 2) for b in batch], "batch_cpu_s": [round(b[1], 2) for b in batch],
        "cpu_ms_per_file_beyond": round(statistics.median(per_file), 3),
        "share_of_raw": round(statistics.median(share), 3),
        "peak_mb": round(max(b[2] for b in batch) / 1e6),
    }


def measure_queue(directory, count):
    """A manifest of many files on a queue of one server: memory, time, and how long a question takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", directory / "nats"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        manifest = directory / "list"
        with manifest.open("w") as out:
            for number in range(count):
                out.write(f"s3://bucket/scans/2026/{number % 1000:03}/{number}.png\n")
        url = f"nats://127.0.0.1:{port}"
        _, took, cpu, peak = run(
            TARGET / "fxsrv", "batch", "submit", manifest, "s3://bucket/out/", "--to", "jpg",
            "--job", "large", "--nats", url)
        asked = []
        for _ in range(5):
            output, seconds, _, _ = run(
                TARGET / "fxsrv", "batch", "status", "large", "--json", "--nats", url)
            told = json.loads(output)
            assert (told["total"], told["pending"]) == (count, count), told
            asked.append(round(seconds, 3))
        return {"files": count, "submit_s": round(took, 1), "submit_cpu_s": round(cpu, 1),
                "submit_peak_mb": round(peak / 1e6), "status_s": asked}
    finally:
        server.kill()
        server.wait()


def report(data):
    """The page of a run."""
    one = data["run"]
    lines = [
        f"# Batches, {data['date']}", "",
        f"Commit {data['commit']}, {data['machine']}, {data['cores']} cores. "
        "`just bench-batch`; times on a shared machine mean little beside each other's ratios.", "",
        f"{one['files']} JPEG files of {one['mean_bytes']} bytes to PNG, directory to directory, in turns with the "
        "same conversions in memory alone:", "",
        "| | raw | `fxsrv batch run` |", "|---|---|---|",
        f"| seconds | {one['raw_s']} | {one['batch_s']} |",
        f"| CPU seconds | {one['raw_cpu_s']} | {one['batch_cpu_s']} |", "",
        f"- CPU beyond the conversion: **{one['cpu_ms_per_file_beyond']} ms a file** (median of the rounds)",
        f"- throughput: **{one['share_of_raw'] * 100:.0f} %** of raw conversion (median of the rounds)",
        f"- peak memory: {one['peak_mb']} MB",
    ]
    two = data.get("queue")
    if two:
        lines += [
            "", f"A manifest of {two['files']} lines, submitted to one nats-server:", "",
            f"- {two['submit_s']} s, {two['submit_cpu_s']} s of CPU, peak memory **{two['submit_peak_mb']} MB**",
            f"- `fxsrv batch status`: {two['status_s']} s",
        ]
    return "\n".join(lines) + "\n"


def main():
    """Does it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--manifest", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                            text=True, check=False).stdout.strip()
    data = {"date": datetime.date.today().isoformat(), "commit": commit,
            "machine": platform.machine(), "cores": os.cpu_count()}
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(prefix="fxsrv-batch-") as directory:
        data["run"] = measure_run(Path(directory), args.files, args.rounds)
    if args.manifest and shutil.which("nats-server"):
        with tempfile.TemporaryDirectory(prefix="fxsrv-batch-") as directory:
            data["queue"] = measure_queue(Path(directory), args.manifest)
    out = args.out or ROOT / "results" / "batch" / data["date"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").write_text(json.dumps(data, indent=1) + "\n")
    (out / "README.md").write_text(report(data))
    print(report(data))


if __name__ == "__main__":
    main()
