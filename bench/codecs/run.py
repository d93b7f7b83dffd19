"""Compares the conversions with the libraries that one could pick instead: CPU time, size, quality, memory.

    just bench-codecs [--install] [--quick] [--files FOLDER]

Every round runs each converter once on the same file, in turn and in an order that rotates, and the ratio is taken
within the round: what else the machine does at that time meets all of them. Work is in process and single-threaded; reading
and writing files is outside of the measured time. Writes results/codecs/<date>.md and .json.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import converters
import inputs
import overhead
import quality
import report

ROUNDS_MIN = 5
# A round of less than this is repeated and summed: clocks of the kernel are coarse.
ROUND_MS_MIN = 40
# Beyond the first a reference is timed in three rounds, beyond the second once: ReportLab takes many seconds for a
# file, and pdfplumber a minute.
SLOW_MS = 4_000
VERY_SLOW_MS = 20_000


def main() -> None:
    args = parse_args()
    target_folder = converters.target_folder()
    python = converters.python_for_references(args.install, target_folder / "codecs-venv")
    named = (item.split("=") for item in args.ours)
    ours = [converters.ours(name, Path(path)) for name, path in named] or converters.all_builds()
    with tempfile.TemporaryDirectory(prefix="fxsrv-codecs-") as folder:
        folder = Path(folder)
        files = inputs.make_all(target_folder / "codecs-inputs", args.quick)
        files += made_pdfs(files, ours[0], folder)
        files += sorted(path for path in Path(args.files).rglob("*") if path.is_file()) if args.files else []
        references = start_references(python, ours[0], folder)
        if sharp := converters.sharp(args.install, target_folder / "codecs-npm"):
            references["sharp"] = sharp
        small = small_pictures(folder)
        cases = []
        # The small ones first, and all that is measured written each time: a run that is stopped has results.
        for path in sorted(files, key=lambda path: path.stat().st_size):
            for target in targets(path):
                if re.search(args.only, f"{path.name}->{target}"):
                    cases.append(measure(path, target, ours, references, folder, args.rounds))
                    if target in converters.IMAGES:
                        cases[-1]["overhead"] = beside(path, target, ours, cases[-1], small, args.rounds)
                    write_results(cases, [converter.name for converter in ours], args.out)
        for converter in [*ours, *references.values()]:
            converter.close()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", nargs="*", metavar="NAME=BINARY", help="builds of examples/convert_loop.rs; made here if none")
    parser.add_argument("--install", action="store_true", help="install references into target/codecs-venv first")
    parser.add_argument("--quick", action="store_true", help="only inputs that take a second or less")
    parser.add_argument("--files", help="a folder of further pictures, texts and PDFs")
    parser.add_argument("--only", default="", help="only cases that match this, as in 'photo3.png->(jpg|png)'")
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN)
    parser.add_argument("--out", type=Path, default=converters.ROOT / "results" / "codecs")
    return parser.parse_args()


def made_pdfs(files: list[Path], ours: converters.Converter, folder: Path) -> list[Path]:
    made = []
    for path in files:
        if path.suffix == ".txt":
            pdf = folder / f"{path.stem}.pdf"
            answer = ours.convert("pdf", path, pdf)
            if not answer.ok:
                sys.exit(f"error: {path.name} did not become a PDF: {answer.message}")
            made.append(pdf)
    return made


def start_references(python: str, ours: converters.Converter, folder: Path) -> dict:
    references = {
        name: converters.reference(name, python)
        for name, module in (("pillow", "PIL"), ("pyvips", "pyvips"), ("reportlab", "reportlab"), ("pdfplumber", "pdfplumber"))
        if converters.has_module(python, module)
    }
    (folder / "page.txt").write_text("page\n")
    ours.convert("pdf", folder / "page.txt", folder / "page.pdf")
    for name in converters.Program.COMMANDS:
        if shutil.which(name):
            references[name] = converters.Program(name, folder / "page.pdf")
    return references


def small_pictures(folder: Path) -> dict[str, Path]:
    """One of each type, by its extension."""
    picture = inputs.photo(64, 48, inputs.SEED)
    small = {f".{kind}": folder / f"small.{kind}" for kind in converters.IMAGES}
    for path in small.values():
        picture.save(path)
    return small


def beside(path: Path, target: str, ours: list, case: dict, small: dict, rounds: int) -> dict:
    """What the conversion takes beside codecs and buffers, for each build."""
    found = {}
    for build in ours:
        binary = Path(build.command[0])
        needed_mib = case["frame_mib"] + (case["bytes_in"] + case["tools"][build.name].get("bytes", 0)) / 2**20
        found[build.name] = {
            "rounds": overhead.rounds(converters.floor_of(binary), target, path, rounds),
            "peak_mib": overhead.peak_mib(binary, target, path, small[path.suffix]),
            "needed_mib": needed_mib,
        }
    return found


def targets(path: Path) -> list[str]:
    return {".txt": ["pdf"], ".pdf": ["txt"]}.get(path.suffix, sorted(converters.IMAGES))


def rivals(target: str, references: dict) -> list:
    names = {"pdf": ["reportlab"], "txt": ["pdftotext", "mutool", "pdfplumber"]}
    names = names.get(target, ["pillow", "pyvips", "sharp"])
    return [references[name] for name in names if name in references]


def measure(path: Path, target: str, ours: list, references: dict, folder: Path, rounds: int) -> dict:
    tools = ours + rivals(target, references)
    case = {"input": path.name, "bytes_in": path.stat().st_size, "target": target, "tools": {}}
    repeats, slowest = {}, {}
    for tool in list(tools):
        result = folder / f"{tool.name}.{target}"
        answer = tool.convert(target, path, result)
        if not answer.ok:
            case["tools"][tool.name] = {"error": answer.message}
            tools.remove(tool)
            continue
        slowest[tool.name] = answer.cpu_ms
        if answer.cpu_ms > VERY_SLOW_MS:
            case["tools"][tool.name] = {"bytes": answer.bytes, "peak_mib": answer.peak_mib, "cpu_ms": [answer.cpu_ms]}
            tools.remove(tool)
            continue
        repeats[tool.name] = max(1, min(40, round(ROUND_MS_MIN / max(answer.cpu_ms, 0.1))))
        case["tools"][tool.name] = {"bytes": result.stat().st_size, "peak_mib": answer.peak_mib, "cpu_ms": []}
        if target in converters.IMAGES:
            case["tools"][tool.name]["psnr"] = quality.psnr(path, result)
    if target in converters.IMAGES:
        with Image.open(path) as picture:
            sample_bytes = len(picture.getbands()) * (2 if "deep" in path.name else 1)
            case["frame_mib"] = picture.width * picture.height * sample_bytes / 2**20
    for turn in range(rounds):
        for tool in tools[turn % len(tools) :] + tools[: turn % len(tools)]:
            if turn >= 3 and slowest[tool.name] > SLOW_MS:
                continue
            times = [tool.convert(target, path).cpu_ms for _ in range(repeats[tool.name])]
            case["tools"][tool.name]["cpu_ms"].append(statistics.mean(times))
            slowest[tool.name] = statistics.mean(times)
    print(report.line(case, [converter.name for converter in ours]), file=sys.stderr, flush=True)
    return case


def write_results(cases: list[dict], ours: list[str], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=converters.ROOT, capture_output=True, text=True)
    about = {
        "date": date,
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "rounds": max((len(tool.get("cpu_ms", [])) for case in cases for tool in case["tools"].values()), default=0),
    }
    (out / f"{date}.json").write_text(json.dumps({"about": about, "cases": cases}, indent=1) + "\n")
    (out / f"{date}.md").write_text(report.markdown(about, sorted(cases, key=report.order), ours))


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    main()
