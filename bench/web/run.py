#!/usr/bin/env python3
"""CPU time per GB of the gateway beside that of `fxsrv convert` doing the same.

A master with its worker, and a gateway before it, each a process of its own. In turns, the same
pictures are converted by `fxsrv convert` (whose CPU time is counted) and through the gateway by curl
(where the gateway's is). Bytes are those of files and results together. Prints each round, and the
median of the ratios.

    bench/web/run.py [--rounds 5] [--files 8] [--megapixels 8] [--bin target/release/fxsrv]
"""

import argparse
import os
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--megapixels", type=int, default=8)
    parser.add_argument("--bin", default=str(ROOT / "target" / "release" / "fxsrv"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        state = directory / "state"
        up, master = start(args.bin, "up", "--listen", "127.0.0.1:0", "--web", "off", "--state", state)
        trust = ("--ca", state / "certs" / "ca.pem", "--token-file", state / "token")
        web, page = start(args.bin, "web", "--listen", "127.0.0.1:0", "--server", master, *trust)
        try:
            measure(args, directory, master, trust, web, page)
        finally:
            for server in (web, up):
                server.terminate()
                server.wait()


def measure(args, directory, master, trust, web, page):
    files, ratios = [], []
    for number in range(args.files):
        files.append(directory / f"{number}.png")
        files[-1].write_bytes(noise_png(args.megapixels))
    out = directory / "out"
    out.mkdir()
    for number in range(args.rounds + 1):
        before = children_cpu_s()
        subprocess.run(
            [args.bin, "convert", *files, "--to", "png", "--output", out, "--force", "--checksum",
             "none", "--server", master, *trust],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        direct = children_cpu_s() - before
        before = cpu_s(web.pid)
        for file in files:
            subprocess.run(
                ["curl", "-fsS", "-T", file, f"http://{page}/v1/convert?to=png", "-o",
                 out / file.name], check=True)
        through = cpu_s(web.pid) - before
        moved = sum(path.stat().st_size for path in [*files, *out.iterdir()]) / 1e9
        if number == 0:
            continue  # The first round warms caches up.
        ratios.append(through / direct)
        print(f"{moved:.2f} GB: fxsrv convert {direct / moved:.2f} s/GB, gateway "
              f"{through / moved:.2f} s/GB, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} of {len(ratios)} rounds, "
          f"{min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
