"""Runs every file of a folder through us and through the reference tools, and names each file where we are worse.

    just fidelity FOLDER [--install] [--limit N] [--jobs N] [--without pdfplumber]

Pictures are held against Pillow: outcome, dimensions after orientation, PSNR of a lossless result against Pillow's decode,
and how much worse than Pillow's own our lossy results are. PDFs are held against pdftotext: outcome and word F1, beside the
F1 of pdfplumber. Texts go to PDF and back. Writes results/fidelity/<date>.md and .json.
"""

import argparse
import collections
import concurrent.futures
import datetime
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "codecs"))

import converters
import quality
import summary

# Below this a picture that both decode was decoded differently.
LOSSLESS_DB_MIN = 45.0

# Marks of direction that pdftotext puts around right-to-left text: no part of a word.
MARKS = dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])

# pdfplumber takes minutes for some documents; one that takes longer than this has failed.
REFERENCE_TIMEOUT_S = 60


def main() -> None:
    args = parse_args()
    python = converters.python_for_references(args.install, converters.target_folder() / "codecs-venv")
    binary = args.ours or converters.build(args.features)
    names = [
        name
        for name, module in (("pillow", "PIL"), ("pdfplumber", "pdfplumber"))
        if name not in args.without and converters.has_module(python, module)
    ]
    files = sorted(path for path in args.folder.rglob("*") if path.is_file())[: args.limit]
    rows = []
    with concurrent.futures.ProcessPoolExecutor(args.jobs, initializer=begin, initargs=(binary, python, names)) as pool:
        for number, (path, row) in enumerate(zip(files, pool.map(look, files)), 1):
            if row:
                rows.append({"file": str(path.relative_to(args.folder)), **row})
            if number % 50 == 0:
                print(f"{number} of {len(files)}", file=sys.stderr, flush=True)
    write_results(rows, args.out)


def begin(binary: Path, python: str, names: list[str]) -> None:
    """Starts the converters of one of the processes that share the files."""
    global OURS, REFERENCES, FOLDER
    OURS = converters.ours("fxsrv", binary)
    REFERENCES = {name: converters.reference(name, python) for name in names}
    for reference in REFERENCES.values():
        reference.timeout_s = REFERENCE_TIMEOUT_S
    FOLDER = tempfile.TemporaryDirectory(prefix="fxsrv-fidelity-")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ours", type=Path, help="a build of examples/convert_loop.rs; made here if not given")
    parser.add_argument("--features", default="", help="features for that build, as in turbo")
    parser.add_argument("--install", action="store_true", help="install references into target/codecs-venv first")
    parser.add_argument("--jobs", type=int, default=1, help="files that are looked at at once")
    parser.add_argument("--without", action="append", default=[], help="a reference to leave out, as in pdfplumber")
    parser.add_argument("--limit", type=int, help="only the first N files")
    parser.add_argument("--out", type=Path, default=converters.ROOT / "results" / "fidelity")
    return parser.parse_args()


def look(path: Path) -> dict | None:
    ours, references, folder = OURS, REFERENCES, Path(FOLDER.name)
    start = path.read_bytes()[:1024]
    if start.startswith((b"\xff\xd8", b"\x89PNG")) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return picture(path, ours, references, folder)
    if b"%PDF-" in start:
        return pdf(path, ours, references, folder)
    if path.suffix.lower() in (".txt", ".md", ".csv", ".log"):
        return text(path, ours, folder)
    return None


def picture(path: Path, ours, references: dict, folder: Path) -> dict:
    row = {"kind": "picture", "ours": {}, "pillow": {}}
    try:
        source = quality.upright(path)
    except Exception as error:  # whatever Pillow throws: it does not read the file
        # Its message names the file by its place on this machine, which is nobody's business.
        source, row["pillow"]["error"] = None, type(error).__name__
    for target in ("png", "jpg", "webp"):
        for name, converter in (("ours", ours), ("pillow", references["pillow"])):
            result = folder / f"{name}.{target}"
            answer = converter.convert(target, path, result)
            entry = row[name][target] = {"ok": answer.ok, "bytes": answer.bytes}
            if not answer.ok:
                entry["error"] = answer.message[:160]
            elif source:
                entry |= beside(source, result)
    if source:
        row["size"] = list(source.size)
    row["worse"] = picture_worse(row, source is not None)
    return row


def beside(source, result: Path) -> dict:
    """What a result is beside the picture that it was made of."""
    try:
        made = quality.upright(result)
    except Exception as error:  # whatever Pillow throws, at times at its own results
        return {"size": None, "psnr": None, "ssim": None, "unreadable": type(error).__name__}
    return {"size": list(made.size), "psnr": quality.psnr_of(source, made), "ssim": quality.ssim_of(source, made)}


def picture_worse(row: dict, pillow_reads: bool) -> list[str]:
    worse = []
    for target, mine in row["ours"].items():
        theirs = row["pillow"][target]
        if not mine["ok"]:
            if pillow_reads and theirs["ok"]:
                worse.append(f"{target}: Pillow reads it, we refuse: {mine['error']}")
            continue
        if not pillow_reads:
            continue
        if "unreadable" in mine:
            worse.append(f"{target}: Pillow cannot read it: {mine['unreadable']}")
        elif mine["psnr"] is None:
            worse.append(f"{target}: {mine['size']} pixels, Pillow has {row['size']}")
        elif target == "png" and mine["psnr"] < LOSSLESS_DB_MIN:
            worse.append(f"png: {mine['psnr']:.1f} dB from Pillow's decode")
        elif target != "png" and theirs.get("psnr") and mine["psnr"] < min(theirs["psnr"], LOSSLESS_DB_MIN) - 1:
            worse.append(f"{target}: {mine['psnr']:.1f} dB, Pillow's {theirs['psnr']:.1f}")
        if target == "png" and theirs["ok"] and mine["bytes"] > theirs["bytes"] * 1.2 + 256:
            worse.append(f"png: {mine['bytes']} bytes, Pillow's {theirs['bytes']}")
    return worse


def pdf(path: Path, ours, references: dict, folder: Path) -> dict:
    row = {"kind": "pdf", "worse": []}
    truth = pdftotext(path)
    result = folder / "ours.txt"
    answer = ours.convert("txt", path, result)
    row["ours"] = {"ok": answer.ok, **({} if answer.ok else {"error": answer.message[:160]})}
    row["pdftotext"] = {"ok": truth is not None, "words": len((truth or "").split())}
    if truth is None or not truth.split():
        return row
    mine = result.read_text(encoding="utf-8") if answer.ok else ""
    row["ours"] |= {"f1": word_f1(truth, mine), "letters": letter_f1(truth, mine)}
    if not answer.ok:
        row["worse"].append(f"pdftotext reads {row['pdftotext']['words']} words, we refuse: {answer.message[:120]}")
    if "pdfplumber" in references:
        result = folder / "plumber.txt"
        answer = references["pdfplumber"].convert("txt", path, result)
        theirs = result.read_text(encoding="utf-8", errors="replace") if answer.ok else ""
        row["pdfplumber"] = {"ok": answer.ok, "f1": word_f1(truth, theirs)}
    if answer and row["ours"]["f1"] < row.get("pdfplumber", {"f1": 0})["f1"] - 0.005:
        row["worse"].append(f"word F1 {row['ours']['f1']:.3f}, pdfplumber's {row['pdfplumber']['f1']:.3f}")
    if row["ours"]["ok"] and row["ours"]["f1"] < 0.9:
        row["worse"].append(f"word F1 {row['ours']['f1']:.3f}, of letters {row['ours']['letters']:.3f}")
    return row


def text(path: Path, ours, folder: Path) -> dict:
    row = {"kind": "text", "worse": []}
    made = folder / "text.pdf"
    answer = ours.convert("pdf", path, made)
    row["ours"] = {"ok": answer.ok, **({} if answer.ok else {"error": answer.message[:160]})}
    if not answer.ok:
        row["worse"].append(f"we refuse: {answer.message[:120]}")
        return row
    source = path.read_bytes()
    try:
        source = source.decode("utf-8-sig" if source[:2] not in (b"\xff\xfe", b"\xfe\xff") else "utf-16")
    except UnicodeDecodeError:
        source = source.decode("latin-1")
    row["ours"]["letters"] = letter_f1(source, pdftotext(made) or "")
    if row["ours"]["letters"] < 0.999:
        row["worse"].append(f"reads back with F1 of letters {row['ours']['letters']:.4f}")
    return row


def pdftotext(path: Path) -> str | None:
    try:
        done = subprocess.run(["pdftotext", "-enc", "UTF-8", str(path), "-"], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode("utf-8", errors="replace") if done.returncode == 0 else None


def word_f1(truth: str, got: str) -> float:
    return bag_f1(truth.translate(MARKS).split(), got.translate(MARKS).split())


def letter_f1(truth: str, got: str) -> float:
    return bag_f1(re.sub(r"[\s\0]", "", truth), re.sub(r"[\s\0]", "", got))


def bag_f1(truth, got) -> float:
    """Harmonic mean of precision and recall over a bag: order does not count, repetitions do."""
    if not truth and not got:
        return 1.0
    shared = (collections.Counter(truth) & collections.Counter(got)).total()
    return 2 * shared / (len(truth) + len(got))


def write_results(rows: list[dict], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    (out / f"{date}.json").write_text(json.dumps(rows, indent=1) + "\n")
    report = summary.markdown(date, rows)
    (out / f"{date}.md").write_text(report)
    print(report)
    print(f"written to {out / date}.md and .json", file=sys.stderr)


if __name__ == "__main__":
    main()
