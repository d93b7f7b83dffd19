"""Compares the file store with what one could use instead, on the same machine, disk and files.

    just bench-store [--quick] [--only ROW] [--rounds N] [--docs]

Needs Debian's nginx (`apt-get install nginx-light`) and installs nothing. Writes results/store/<date>/: store.json with every
round, store.csv, store.md. With --docs, a later run or this one is put into the marked block of docs/store.md.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import clients
import report
import rows
import servers

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "store.md"

GET_SMALL_GOALS = [
    {"over": "fxsrv", "under": "python", "at_least": 20},
    {"over": "fxsrv", "under": "nginx", "at_least": 1},
    {"over": "nginx", "under": "python", "note": "for comparison"},
    {"over": rows.KERNEL, "under": "python", "note": "the bound of any server with these system calls"},
]


def row_get_large(bench: rows.Bench) -> list[dict]:
    return [{
        "title": "GET of a large file from the page cache, one connection",
        "unit": "CPU seconds for each GB",
        "digits": 3,
        "rounds": rows.get_large(bench),
        "goals": [
            {"over": "fxsrv", "under": "nginx", "at_most": 1},
            {"over": "fxsrv", "under": "python", "at_most": 0.6},
        ],
    }]


def row_get_small(bench: rows.Bench) -> list[dict]:
    return [{
        "title": f"GET of 1 KB files, {connections} persistent connection{'s' if connections > 1 else ''}",
        "unit": "Requests for each CPU second of the server",
        "digits": 0,
        "rounds": rows.get_small(bench, connections),
        "goals": GET_SMALL_GOALS,
    } for connections in (1, 64)] + [{
        "title": f"GET of 1 KB files, one persistent connection, {rows.TOGETHER} requests in a send",
        "unit": "Requests for each CPU second of the server",
        "digits": 0,
        "rounds": rows.get_small(bench, 1, rows.TOGETHER),
        "goals": GET_SMALL_GOALS,
    }]


def row_put(bench: rows.Bench) -> list[dict]:
    return [{
        "title": "PUT of 1 KB files, full durability, 64 clients",
        "unit": "Files a second; `one at a time` is a bare loop without network: draft, fsync, rename, fsync of the directory",
        "digits": 0,
        "rounds": rows.put_small(bench),
        "goals": [{"over": "fxsrv", "under": "one at a time", "at_least": 5}],
    }]


def row_summary(bench: rows.Bench) -> list[dict]:
    speed, peaks = rows.summary(bench)
    return [{
        "title": f"SUMMARY of {bench.large // rows.MB} MB of numbers",
        "unit": "CPU seconds",
        "digits": 3,
        "rounds": speed,
        "goals": [{"over": "python float(line)", "under": "fxsrv", "at_least": 15}],
    }, {
        "title": "SUMMARY, memory",
        "unit": f"MiB of the whole server at most, for {bench.large // rows.MB} MB of numbers and for ten times as many",
        "digits": 1,
        "rounds": peaks,
        "goals": [{"value": value, "at_most": 20} for value in ("peak", "peak, ten times as large")],
    }]


def row_memory(bench: rows.Bench) -> list[dict]:
    return [{
        "title": "Memory of 200 connections",
        "unit": "KiB a connection, where no other unit is named",
        "digits": 1,
        "rounds": rows.memory(bench),
        "goals": [
            {"value": value, "at_most": 20}
            for value in ("uring, idle", "uring, GET in flight, beside the pool", "epoll, idle")
        ],
    }]


ROWS = {
    "get-large": row_get_large,
    "get-small": row_get_small,
    "put": row_put,
    "summary": row_summary,
    "memory": row_memory,
}


def main() -> None:
    args = parse_args()
    if servers.nginx_binary() is None:
        sys.exit("error: there is no nginx to compare with\nhint: install it with `apt-get install nginx-light`")
    if not args.bin.exists():
        sys.exit(f"error: there is no {args.bin}\nhint: build it with `cargo build --release`")
    measured = []
    # Beside the program, on a disk: where temporary files lie a sync may cost nothing.
    with tempfile.TemporaryDirectory(prefix="fxsrv-bench-", dir=args.folder or args.bin.parent) as folder:
        bench = rows.Bench(args.bin, Path(folder), args.rounds or (3 if args.quick else 7), args.quick)
        about = describe(bench)
        for name in args.only or ROWS:
            for row in ROWS[name](bench):
                measured.append(row)
                print("\n".join(report.goal_lines(row)), file=sys.stderr, flush=True)
                for contender in report.contenders(row):
                    print(f"    {contender}: {report.spread(report.values(row, contender), 4)}", file=sys.stderr)
    write(about, measured, args)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--bin", type=Path, default=target / "release" / "fxsrv")
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it works rather than how fast anything is")
    parser.add_argument("--only", action="append", choices=ROWS, help="this row; may be repeated")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--folder", type=Path, help="where files are kept meanwhile; by default beside the program")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "store")
    parser.add_argument("--docs", action="store_true", help="also write the block of docs/store.md")
    return parser.parse_args()


def describe(bench: rows.Bench) -> dict:
    def first_line(*command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return (done.stdout or done.stderr).splitlines()[0].strip()

    with bench.store() as server:
        (connection,) = bench.connect(server)
        cipher = connection.cipher()[0]
    import ssl

    versions = [
        first_line(str(bench.binary), "--version"),
        first_line(servers.nginx_binary(), "-v").removeprefix("nginx version: "),
        f"{ssl.OPENSSL_VERSION} (nginx, Python)",
        f"Python {platform.python_version()}",
    ]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
        "machine": machine(bench.folder),
        "versions": ", ".join(versions),
        "cipher": cipher,
        "rounds": bench.rounds,
        "quick": bench.quick,
    }


def machine(folder: Path) -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, {kind}"


def write(about: dict, measured: list[dict], args: argparse.Namespace) -> None:
    if args.quick or args.only:
        print("not written: results are of whole runs", file=sys.stderr)
        return
    out = args.out / about["date"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "store.json").write_text(json.dumps({"about": about, "rows": measured}, indent=1) + "\n")
    (out / "store.csv").write_text(report.as_csv(measured))
    (out / "store.md").write_text(report.markdown(about, measured))
    print(f"written to {out}", file=sys.stderr)
    if args.docs:
        DOCUMENT.write_text(report.replace_block(DOCUMENT.read_text(), report.block(about, measured)))


if __name__ == "__main__":
    main()
