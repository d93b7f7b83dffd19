#!/usr/bin/env python3
"""CPU time per GB of a file that goes by HTTP, beside that of `fxsrv convert` doing the same.

A master with its worker, and a gateway before it, each a process of its own. In turns, the same
pictures are converted by `fxsrv convert`, whose CPU time is counted, and through the gateway by curl,
where that of both is: it is they who do together what `fxsrv convert` does alone. Either client is one
process for all files. Bytes are those of files and results together. The first round warms caches up.

    bench/web/run.py [--rounds 9] [--files 8] [--megapixels 8] [--bin target/release/fxsrv]

Prints each round and the medians. With --docs, results/web/<date>.json and .md are written, and the
marked block of docs/gateway.md.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import resource
import statistics
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "gateway.md"
BEGIN, END = "<!-- bench:web -->", "<!-- /bench -->"

#: How much more CPU time a GB may cost by HTTP.
GOAL = 1.15


def noise_png(megapixels):
    """A picture that no codec makes smaller, so that bytes travel both ways."""
    width, height = 2000, megapixels * 500
    rows = b"".join(b"\0" + random.randbytes(3 * width) for _ in range(height))

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def cpu_s(pid):
    """CPU time of a process, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start(*args):
    """A server, and the address that it prints."""
    server = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in server.stdout:
        found = re.match(r"listening on (\S+)", line)
        if found:
            return server, found.group(1)
    raise SystemExit(f"error: {' '.join(map(str, args))} does not serve")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--megapixels", type=int, default=8)
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release" / "fxsrv")
    parser.add_argument("--docs", action="store_true", help="keep the results, and show them in docs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        state = directory / "state"
        up, master = start(args.bin, "up", "--listen", "127.0.0.1:0", "--web", "off", "--state", state)
        trust = ("--ca", state / "certs" / "ca.pem", "--token-file", state / "token")
        web, page = start(args.bin, "web", "--listen", "127.0.0.1:0", "--server", master, *trust)
        try:
            rounds = list(measure(args, directory, master, trust, web, page))
        finally:
            for server in (web, up):
                server.terminate()
                server.wait()
    print(f"median {median(rounds, 'ratio'):.2f} of {len(rounds)} rounds; the goal is {GOAL}")
    if args.docs:
        record(args, rounds)


def measure(args, directory, master, trust, web, page):
    """Seconds per GB of each round."""
    files = [directory / f"{number}.png" for number in range(args.files)]
    for file in files:
        file.write_bytes(noise_png(args.megapixels))
    out = directory / "out"
    out.mkdir()
    convert = [args.bin, "convert", *files, "--to", "png", "--output", out, "--force", "--checksum",
               "none", "--server", master, *trust]
    one = [["-fsS", "-T", file, f"http://{page}/v1/convert?to=png", "-o", out / file.name]
           for file in files]
    curl = ["curl", *one[0], *(word for words in one[1:] for word in ("--next", *words))]
    for number in range(args.rounds + 1):
        direct = children_cpu_s()
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        direct, client, gateway = children_cpu_s() - direct, children_cpu_s(), cpu_s(web.pid)
        subprocess.run(curl, check=True)
        client, gateway = children_cpu_s() - client, cpu_s(web.pid) - gateway
        moved = sum(path.stat().st_size for path in [*files, *out.iterdir()]) / 1e9
        figures = {"gb": moved, "convert": direct / moved, "gateway": gateway / moved,
                   "curl": client / moved, "ratio": (gateway + client) / direct}
        if number > 0:
            print("{gb:.2f} GB: fxsrv convert {convert:.2f} s/GB, gateway {gateway:.2f} and curl "
                  "{curl:.2f} s/GB, ratio {ratio:.2f}".format(**figures), flush=True)
            yield figures


def median(rounds, key):
    return statistics.median(figures[key] for figures in rounds)


def record(args, rounds):
    date = datetime.date.today().isoformat()
    ratios = [figures["ratio"] for figures in rounds]
    version = subprocess.check_output([args.bin, "--version"], text=True).splitlines()[0]
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    about = {"date": date, "version": version, "commit": commit.strip(), "kernel": platform.release(),
             "processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
             "files": args.files, "megapixels": args.megapixels}
    rows = [("`fxsrv convert`", "convert"), ("the gateway", "gateway"), ("curl before it", "curl")]
    table = "\n".join([
        "| | CPU seconds per GB |", "|---|---:|",
        *(f"| {name} | {median(rounds, key):.2f} |" for name, key in rows)])
    text = (f"{table}\n\nGateway and curl together cost {median(rounds, 'ratio'):.2f} times what `fxsrv "
            f"convert` does ({min(ratios):.2f} to {max(ratios):.2f} in {len(rounds)} rounds; the goal is at\n"
            f"most {GOAL}). {about['files']} pictures of {about['megapixels']} megapixels, PNG to PNG; medians, of "
            f"{date}, on {about['processor']},\n{about['cores']} cores, commit {about['commit']}.\n")
    folder = ROOT / "results" / "web"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{date}.json").write_text(json.dumps({"about": about, "rounds": rounds}, indent=1) + "\n")
    (folder / f"{date}.md").write_text(f"# The gateway, {date}\n\n{text}")
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN, 1)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
