"""Where the master's time goes: samples of it under load, by kind of work.

    just peers-profile [--only REGEX]

The loads are those of `bench-peers`: 10 MB each way on 20 connections, and 1 KB each way with a new client TLS each.
Needs Linux' `perf`. Prints a table, and writes it to results/peers/<date>/profile.md. docs/peers.md explains it.
"""

import collections
import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import processes
import run

#: The first that fits a symbol has it; `k` is the kernel's.
KINDS = [
    ("AES-GCM", ".k", r"aes_gcm|gmult|ghash|aead_|gcm_"),
    ("SHA-384: transcript and keys of the handshake", ".", r"sha512|SHA512|SHA384|sha384|HMAC|hmac|HKDF|hkdf|EVP_MD"),
    ("elliptic curves of the handshake", ".", r"25519|nistz256|p256|bignum_|ECDSA|ecdsa|^BN_|^EC_"),
    ("copies by the kernel", "k", r"copy_(to|from)_iter|__pi_memcpy|copy_user"),
    ("io_uring in the kernel", "k", r"io_uring|^_*io_"),
    ("network and the rest of the kernel", "k", ""),
    ("allocator, and memory that is moved or zeroed", ".", r"^_*mi_|malloc|memmove|memset|memcpy"),
    ("tokio and tokio-uring", ".", r"tokio"),
    ("rustls", ".", r"rustls"),
    ("fxsrv", ".", r"fxsrv"),
    ("other libraries", ".", ""),
]


def main():
    args = run.parse_args()
    if not shutil.which("perf"):
        run.fail("there is no perf", "apt-get install linux-perf")
    args.only = args.only or r"^fxsrv-(uring|epoll)$"
    chosen = [one for one in run.choose(args) if re.search(args.only, one.key)]
    processes.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: terminated"))
    scale = dataclasses.replace(run.FULL, bulk=200, small=12_000)
    profiles = {}
    with tempfile.TemporaryDirectory(prefix="fxsrv-peers-") as directory:
        bench = run.Bench(Path(directory), args, scale, chosen)
        try:
            for contender in chosen:
                process, address = bench.running[contender.key] = contender.start(bench.site)
                for workload in scale.workloads():
                    if workload.key != "bulk-1":
                        profiles[workload.key, contender.name] = sampled(bench, workload, process, address)
            about = bench.about(0)
        finally:
            bench.end()
    out = args.out or run.ROOT / "results" / "peers" / about["date"]
    out.mkdir(parents=True, exist_ok=True)
    text = table(profiles, about)
    (out / "profile.md").write_text(text)
    print(text)


def sampled(bench, workload, process, address):
    """The share of each kind of work, in percent of the samples."""
    data = bench.dir / "perf.data"
    recorders = []

    def begin():
        command = ["perf", "record", "--quiet", "--freq", "1999", "--output", data, "--pid", str(process.child.pid)]
        recorders.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    bench.load(address, workload, begin)
    recorders[0].send_signal(signal.SIGINT)
    recorders[0].wait()
    report = run.run(
        "perf", "report", "--input", data, "--stdio", "--no-children", "--fields", "overhead,symbol", "--percent-limit", "0")
    shares = collections.Counter()
    for percent, side, symbol in re.findall(r"^\s*([\d.]+)%\s+\[(.)\] (.*?)\s*$", report, re.MULTILINE):
        kind = next(name for name, sides, pattern in KINDS if side in sides and re.search(pattern, symbol))
        shares[kind] += float(percent)
    return shares


def table(profiles, about):
    titles = {"bulk-20": "10 MB each way, 20 connections", "small": "1 KB each way, new client TLS each"}
    head = [f"{titles[load]}: {name}" for load, name in profiles]
    lines = [
        f"# Where the master's time goes, {about['date']}", "",
        f"Commit {about['commit']}. {about['cpu']}, Linux {about['kernel']}. `just peers-profile`; samples of one thread, in percent.", "",
        f"| kind of work | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}",
    ]
    for name, *_ in KINDS:
        lines.append(f"| {name} | {' | '.join(f'{shares[name]:.1f}' for shares in profiles.values())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
