"""What a conversion takes beside its codecs and its buffers: time over decoding and encoding alone, and memory.

Time: `examples/codec_floor.rs` decodes, encodes and converts in turns, in one process. Memory: a process of its own for each
conversion, after one of a small picture of the same types, so that code and tables are there; how far it rises with the
file counts, input and result included.
"""

import subprocess
from pathlib import Path

import converters

#: What is promised: time over that of the codecs alone; memory over decoded frame, input and result.
TIME_MAX = 1.10
MEMORY_MAX = 1.3

#: What allocator and codecs take in any case is most of what a smaller picture takes.
FRAME_MIB_MIN = 8


def rounds(floor: Path, target: str, path: Path, count: int) -> list[list[float]]:
    """Decoding, encoding and the whole, in ms, for each round; none where the codecs alone cannot do it."""
    request = f"{target}\t{path}\t{count}\n"
    done = subprocess.run([str(floor)], input=request, capture_output=True, text=True, timeout=converters.TIMEOUT_S)
    kind, *lines = done.stdout.rstrip("\n").split("\t")
    if done.returncode or kind != "ok":
        return []
    return [[int(part) / 1e6 for part in line.split(",")] for line in lines]


def peak_mib(binary: Path, target: str, path: Path, small: Path) -> float | None:
    """How far the memory of a new process rises with the conversion of `path`."""
    converter = converters.ours("memory", binary)
    try:
        converter.convert(target, small)
        answer = converter.convert(target, path)
        return answer.peak_mib if answer.ok else None
    finally:
        converter.close()


def markdown(cases: list[dict], ours: list[str]) -> list[str]:
    """Both tables."""
    out = ["## What a conversion takes beside its codecs", ""]
    out += [f"Time is over decoding and encoding alone, by the same libraries in the same process: at most {TIME_MAX:.2f}.",
            f"Memory is over the decoded frame, the input and the result, where these are {FRAME_MIB_MIN} MiB or more: at most",
            f"{MEMORY_MAX}.", ""]
    heads = ["input", "to"]
    for name in ours:
        heads += [f"{name}: decode ms", "encode ms", "whole ms", "time", "peak MiB", "memory"]
    out += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    times, memories = [], []
    for case in cases:
        if "overhead" not in case:
            continue
        cells = [case["input"], case["target"]]
        for name in ours:
            found = case["overhead"].get(name, {})
            cells += row(found, times, memories)
        out.append("| " + " | ".join(cells) + " |")
    for what, values, most in (("Time", times, TIME_MAX), ("Memory", memories, MEMORY_MAX)):
        if values:
            over = sum(value > most for value in values)
            out += ["", f"{what}: median {median(values):.2f}, most {max(values):.2f}; over {most}: {over} of {len(values)}."]
    return [*out, ""]


def row(found: dict, times: list, memories: list) -> list[str]:
    cells = ["-"] * 6
    if found.get("rounds"):
        medians = [median(column) for column in zip(*found["rounds"])]
        times.append(median([whole / max(decode + encode, 1e-6) for decode, encode, whole in found["rounds"]]))
        cells[:4] = [*(f"{value:.2f}" for value in medians), f"{times[-1]:.2f}"]
    if found.get("peak_mib") is not None and found["needed_mib"] >= FRAME_MIB_MIN:
        memories.append(found["peak_mib"] / found["needed_mib"])
        cells[4:] = [f"{found['peak_mib']:.0f}", f"{memories[-1]:.2f}"]
    return cells


def median(values) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
