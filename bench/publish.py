#!/usr/bin/env python3
"""Put the plots of a run of the bench into docs/images/, README.md, docs/bench.md and results/README.md.

    bench/publish.py results/2026-01-31-original-0123abcde

Says of each plot what it was measured on: a number without its machine is none.
"""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- bench:run -->", "<!-- /bench -->"

# What a plot is called, and what it shows.
PLOTS = {
    "throughput-by-size": "MB of files a second by file size, a line for each conversion",
    "latency": "latency by percentile on an axis of nines, a line for each conversion",
    "heat": "MB of upload a second by chunk size and connections",
    "cpu": "CPU seconds of master and worker for a GB of files",
}


def main(run: pathlib.Path) -> None:
    record = json.loads((run / "run.json").read_text())
    name = run.resolve().relative_to(ROOT).as_posix()
    IMAGES.mkdir(parents=True, exist_ok=True)
    drawn = [plot for plot in PLOTS if (run / "plots" / f"{plot}.svg").exists()]
    for plot in drawn:
        shutil.copy(run / "plots" / f"{plot}.svg", IMAGES / f"bench-{plot}.svg")
    put(ROOT / "README.md", about(record, name, "") + images(drawn[:1], "docs/images/"))
    put(ROOT / "docs" / "bench.md", about(record, name, "../") + images(drawn, "images/"))
    put(ROOT / "results" / "README.md", f"The run is [`{run.name}/`]({run.name}/report.html).\n")


def about(record: dict, name: str, up: str) -> str:
    machine = record["machine"]
    doubts = ", ".join(noted["name"] for noted in record["warnings"]) or "none"
    return (
        f"Measured at commit {record['commit']} on {machine['cores']} cores of an {machine['cpu']},\n"
        f"Linux {machine['kernel']}, generator and servers on the same machine, in"
        f" {record['took_seconds'] / 60:.0f} minutes\n"
        f"([report and raw data]({up}{name}/); reasons for doubt: {doubts}).\n\n"
    )


def images(plots: list[str], folder: str) -> str:
    return "\n".join(f"![{PLOTS[plot]}]({folder}bench-{plot}.svg)\n" for plot in plots)


def put(path: pathlib.Path, text: str) -> None:
    """Replaces what stands between the marks."""
    old = path.read_text()
    if BEGIN not in old or END not in old:
        sys.exit(f"error: {path} has no place between {BEGIN} and {END}")
    before, rest = old.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
