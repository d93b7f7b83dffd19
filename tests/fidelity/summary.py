"""The rows of a fidelity run as a page."""

import statistics


def markdown(date: str, rows: list[dict]) -> str:
    out = [f"# Fidelity, {date}", "", f"{len(rows)} files.", ""]
    out += pictures([row for row in rows if row["kind"] == "picture"])
    out += pdfs([row for row in rows if row["kind"] == "pdf"])
    out += texts([row for row in rows if row["kind"] == "text"])
    worse = [row for row in rows if row["worse"]]
    out += ["## Where we are worse, by name", ""]
    out += [f"- `{row['file']}`: {'; '.join(row['worse'])}" for row in worse] or ["None."]
    return "\n".join(out) + "\n"


def pictures(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    out = ["## Pictures, beside Pillow", ""]
    out += ["| to | both convert | only we | only Pillow | neither | same pixels as Pillow's decode | under 45 dB | least PSNR "
            "| median PSNR less Pillow's | least SSIM | median SSIM less Pillow's |"]
    out += ["|---" * 11 + "|"]
    for target in ("png", "jpg", "webp"):
        pairs = [(row["ours"][target], row["pillow"][target]) for row in rows]
        counts = [sum((mine["ok"], theirs["ok"]) == outcome for mine, theirs in pairs) for outcome in
                  ((True, True), (True, False), (False, True), (False, False))]
        known = [(mine["psnr"], theirs["psnr"]) for mine, theirs in pairs if mine.get("psnr") and theirs.get("psnr")]
        exact = sum(mine == 99.0 for mine, _ in known)
        least = f"{min(mine for mine, _ in known):.1f}" if known else "-"
        less = f"{statistics.median(mine - theirs for mine, theirs in known):+.2f}" if known else "-"
        under = sum(mine < 45.0 for mine, _ in known) if target == "png" else "-"
        ssims = [(mine["ssim"], theirs["ssim"]) for mine, theirs in pairs
                 if mine.get("ssim") is not None and theirs.get("ssim") is not None]
        least_ssim = f"{min(mine for mine, _ in ssims):.3f}" if ssims else "-"
        less_ssim = f"{statistics.median(mine - theirs for mine, theirs in ssims):+.4f}" if ssims else "-"
        out.append(f"| {target} | {' | '.join(map(str, counts))} | {exact} of {len(known)} | {under} | {least} | {less} "
                   f"| {least_ssim} | {less_ssim} |")
    sizes = {target: [] for target in ("png", "jpg", "webp")}
    for row in rows:
        for target, ratios in sizes.items():
            mine, theirs = row["ours"][target], row["pillow"][target]
            if mine["ok"] and theirs["ok"] and theirs["bytes"] > 4096:
                ratios.append(mine["bytes"] / theirs["bytes"])
    for target, ratios in sizes.items():
        if ratios:
            out += ["", f"Bytes of {target} over Pillow's, where these are over 4 KiB ({len(ratios)} files): "
                    f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}."]
    return [*out, ""]


def pdfs(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    judged = [row for row in rows if "f1" in row["ours"]]
    scores = sorted(row["ours"]["f1"] for row in judged)
    out = ["## PDFs, beside pdftotext", ""]
    both = sum(row["ours"]["ok"] and row["pdftotext"]["ok"] for row in rows)
    only_we = sum(row["ours"]["ok"] and not row["pdftotext"]["ok"] for row in rows)
    out += [f"{len(rows)} files: both convert {both}, only we {only_we}; pdftotext finds words in {len(judged)}.", ""]
    if scores:
        out += [f"Word F1 against pdftotext: median {statistics.median(scores):.3f}, mean {statistics.mean(scores):.3f}, "
                f"under 0.99: {sum(score < 0.99 for score in scores)}, under 0.90: {sum(score < 0.9 for score in scores)}.", ""]
    theirs = [row["pdfplumber"]["f1"] for row in judged if "pdfplumber" in row]
    if theirs:
        out += [f"pdfplumber on the same files: median {statistics.median(theirs):.3f}, mean {statistics.mean(theirs):.3f}, "
                f"under 0.90: {sum(score < 0.9 for score in theirs)}.", ""]
    return out


def texts(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    letters = [row["ours"]["letters"] for row in rows if "letters" in row["ours"]]
    whole = sum(score == 1.0 for score in letters)
    return ["## Texts, to PDF and read back by pdftotext", "",
            f"{len(rows)} files, {len(letters)} converted, {whole} read back letter for letter.", ""]
