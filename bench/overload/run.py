#!/usr/bin/env python3
"""What a worker makes of three times more load than it can do: goodput, refusals, times, memory.

A master and a worker, each a process of its own. In turns: as many connections as keep the slots busy,
one request after another, which gives the peak; then requests that come at so many times that rate, each
connection in its own time, whether they are answered or not. Goodput is what is answered by a result.

    bench/overload/run.py [--rounds 5] [--seconds 8] [--times 3] [--queue-timeout 2000] [--bin FILE]

Prints each round, and what it comes to. With --keep, results/overload/<date>.json and .md are written.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

#: What is wanted, as docs/admission.md has it.
GOODPUT_MIN, REFUSAL_MS_MAX = 0.90, 50


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--times", type=float, default=3)
    parser.add_argument("--queue-timeout", type=int, default=2000, help="milliseconds")
    parser.add_argument("--memory", default="512 MiB")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--side", type=int, default=500, help="of the square picture, in pixels")
    parser.add_argument("--bin", type=lambda path: Path(path).resolve(), default=ROOT / "target" / "release" / "fxsrv")
    parser.add_argument("--keep", action="store_true", help="write the results")
    args = parser.parse_args()
    os.environ["FXSRV_BIN"] = str(args.bin)
    with tempfile.TemporaryDirectory() as directory:
        rounds = measure(Path(directory), args)
    report = summary(rounds, args)
    print(report)
    if args.keep:
        folder = ROOT / "results" / "overload"
        folder.mkdir(parents=True, exist_ok=True)
        date = datetime.date.today().isoformat()
        settings = {key: str(value) for key, value in vars(args).items() if key not in ("bin", "keep")}
        machine = {"kernel": platform.release(), "cpus": os.cpu_count()}
        (folder / f"{date}.json").write_text(
            json.dumps({"settings": settings, "machine": machine, "rounds": rounds}, indent=1) + "\n")
        (folder / f"{date}.md").write_text(report + "\n")


def measure(directory, args):
    import client_v1
    import harness
    import overload
    import test_admission

    harness.run("certs", "init", "--dir", directory / "certs", "--name", "127.0.0.1")
    token = directory / "token"
    token.write_text(harness.TOKEN + "\n")
    token.chmod(0o600)
    common = ("--listen", "127.0.0.1:0", "--certs", directory / "certs", "--log", "warn")
    worker = harness.Server(
        directory / "worker", "worker", *common, "--slots", args.slots, "--memory", args.memory,
        "--queue-timeout", f"{args.queue_timeout}ms")
    host, port = worker.address()
    master = harness.Server(
        directory / "master", "master", *common, "--token-file", token, "--worker", f"{host}:{port}")
    case = SimpleNamespace(context=client_v1.tls_context(directory / "certs" / "ca.pem"))
    body = test_admission.picture(args.side)

    def run(connections, period_s):
        load = overload.Load(
            case, master.address(), harness.TOKEN, client_v1.TO_WEBP, body, connections, period_s)
        harness.eventually("requests are answered", lambda: len(load.ended) >= 8)
        time.sleep(1 + args.queue_timeout / 1000 * (period_s > 0))
        count, began = len(load.ended), time.monotonic()
        time.sleep(args.seconds)
        ended, seconds = load.since(count), time.monotonic() - began
        load.end()
        return ended, seconds

    rounds = []
    try:
        for number in range(args.rounds):
            ended, seconds = run(args.slots * 3, 0.0)
            peak = len(overload.times(ended, "OK")) / seconds
            # Those that wait hold their connections: so many more must find none of them free.
            connections = int(2 * args.times * peak * args.queue_timeout / 1000) + 16
            ended, seconds = run(connections, connections / (args.times * peak))
            done, refused = overload.times(ended, "OK"), overload.times(ended, "BUSY")
            if len(done) + len(refused) != len(ended):
                raise SystemExit(f"error: {set(one.code for one in ended)}")
            ms = lambda values, share: round(1000 * overload.quantile(values, share), 1) if values else None
            one = {
                "peak_per_s": round(peak, 2),
                "offered_per_s": round(len(ended) / seconds, 2),
                "goodput": round(len(done) / seconds / peak, 3),
                "refused_ms_p50": ms(refused, 0.5), "refused_ms_p99": ms(refused, 0.99),
                "done_ms_p50": ms(done, 0.5), "done_ms_p99": ms(done, 0.99),
                "memory_mib": round(worker.memory_bytes() / 2**20, 1),
            }
            print(f"round {number + 1}: {one}", flush=True)
            rounds.append(one)
    finally:
        for server in (master, worker):
            server.end()
    return rounds


def summary(rounds, args):
    def median(key):
        return statistics.median(one[key] for one in rounds)
    lines = [
        f"# Overload: {args.times:g} times what the slots can do",
        "",
        f"{len(rounds)} rounds of {args.seconds:g} s, {args.slots} slot(s), pictures of {args.side} x"
        f" {args.side} to WEBP, `--queue-timeout {args.queue_timeout}ms`, `--memory {args.memory}`;"
        " client, master and worker on one machine. Medians, with the range.",
        "",
        "| | median | least | most | wanted |", "|---|---:|---:|---:|---|",
    ]
    wanted = {
        "goodput": f"at least {GOODPUT_MIN} of the peak", "refused_ms_p99": f"under {REFUSAL_MS_MAX}",
        "done_ms_p99": f"under {args.queue_timeout} and one conversion", "memory_mib": f"under {args.memory}",
    }
    for key in rounds[0]:
        values = [one[key] for one in rounds]
        lines.append(f"| {key} | {median(key)} | {min(values)} | {max(values)} | {wanted.get(key, '')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    main()
