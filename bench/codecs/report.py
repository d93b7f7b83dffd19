"""The codec comparison as tables."""

import statistics

import overhead

# What the ratio to the first rival is to reach, by target.
GOALS = {"jpg": "1.8x from PNG, 1.4x from JPG and WEBP", "png": "10x photographs, 4x drawings", "webp": "2x"}
GOALS |= {"pdf": "400x ReportLab, 150x with an embedded font", "txt": "4x pdftotext from 100 pages on, 200x pdfplumber"}


def ratios(case: dict, ours: str, rival: str) -> list[float]:
    mine, theirs = (case["tools"].get(name, {}).get("cpu_ms", []) for name in (ours, rival))
    return [their / my for my, their in zip(mine, theirs) if my > 0]


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def order(case: dict) -> tuple:
    """Photographs, drawings and the like in the order of their names, generated noise last."""
    name = case["input"]
    return (case["target"], name.startswith("noise"), name)


def rivals_of(cases: list[dict], ours: list[str]) -> list[str]:
    names = dict.fromkeys(name for case in cases for name in case["tools"] if name not in ours)
    return list(names)


def line(case: dict, ours: list[str]) -> str:
    parts = [f"{case['input']:>16} -> {case['target']:<4}"]
    for name, tool in case["tools"].items():
        if "error" in tool:
            parts.append(f"{name}: {tool['error'][:60]}")
            continue
        text = f"{name} {statistics.median(tool['cpu_ms']):.2f} ms {tool['bytes']} B"
        if tool.get("psnr") is not None:
            text += f" {tool['psnr']:.2f} dB"
        if name in ours:
            text += "".join(f" {spread(ratios(case, name, rival))}x" for rival in rivals_of([case], ours))
        parts.append(text)
    return " | ".join(parts)


def markdown(about: dict, cases: list[dict], ours: list[str]) -> str:
    out = [
        f"# Conversions compared, {about['date']}",
        "",
        f"Commit {about['commit']}. {about['machine']}. CPU time in process, single-threaded, {about['rounds']} alternating",
        "rounds (three where a reference takes over 4 s, once if over 20 s). A ratio is the rival's time over ours within a",
        "round: median, and in brackets the smallest and largest. Size is our bytes over the rival's, PSNR is against the",
        "input as Pillow decodes it. Memory is how far resident memory rose, input and result included.",
        "",
    ]
    for target in ("jpg", "png", "webp", "pdf", "txt"):
        chosen = [case for case in cases if case["target"] == target]
        if chosen:
            out += table(target, chosen, ours)
    out += overhead.markdown(cases, ours)
    return "\n".join(out)


def table(target: str, cases: list[dict], ours: list[str]) -> list[str]:
    rivals = rivals_of(cases, ours)
    heads = ["input", *(f"{name} ms" for name in ours)]
    heads += [f"{name} / {rival}" for name in ours for rival in rivals]
    heads += [f"size / {rivals[0]}" if rivals else "size", "PSNR ours, theirs", "peak MiB"]
    rows = [row(case, ours, rivals) for case in cases]
    out = [f"## To {target.upper()}", "", f"Goal: {GOALS[target]}.", ""]
    out += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    out += ["| " + " | ".join(cells) + " |" for cells in rows]
    medians = []
    for name in ours:
        for rival in rivals:
            values = [statistics.median(found) for case in cases if (found := ratios(case, name, rival))]
            if values:
                medians.append(f"{name} / {rival}: {statistics.median(values):.2f}, least {min(values):.2f}")
    return [*out, "", "Median over the inputs: " + "; ".join(medians) + ".", ""]


def row(case: dict, ours: list[str], rivals: list[str]) -> list[str]:
    tools = case["tools"]
    cells = [case["input"]]
    for name in ours:
        tool = tools.get(name, {})
        cells.append(f"{statistics.median(tool['cpu_ms']):.2f}" if tool.get("cpu_ms") else tool.get("error", "-"))
    cells += [spread(ratios(case, name, rival)) for name in ours for rival in rivals]
    mine, theirs = tools.get(ours[-1], {}), tools.get(rivals[0], {}) if rivals else {}
    cells.append(f"{mine['bytes'] / theirs['bytes']:.3f}" if mine.get("bytes") and theirs.get("bytes") else "-")
    psnrs = [f"{tool['psnr']:.2f}" if tool.get("psnr") is not None else "-" for tool in (mine, theirs)]
    cells.append(", ".join(psnrs))
    cells.append(f"{mine['peak_mib']:.0f}" if "peak_mib" in mine else "-")
    return cells
