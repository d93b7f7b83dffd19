"""Rounds as tables: JSON, CSV, Markdown, and the block of a document."""

import csv
import io
import statistics

BEGIN, END = "<!-- bench-store: begin -->", "<!-- bench-store: end -->"


def spread(values: list[float], digits: int = 2) -> str:
    if not values:
        return "-"
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least}-{most})"


def ratios(row: dict, over: str, under: str) -> list[float]:
    """Within a round, so that what else the machine does meets both."""
    return [turn[over] / turn[under] for turn in row["rounds"] if over in turn and under in turn]


def values(row: dict, name: str) -> list[float]:
    return [turn[name] for turn in row["rounds"] if name in turn]


def contenders(row: dict) -> list[str]:
    return list(dict.fromkeys(name for turn in row["rounds"] for name in turn))


def goal_lines(row: dict) -> list[str]:
    lines = []
    for goal in row["goals"]:
        found = values(row, goal["value"]) if "value" in goal else ratios(row, goal["over"], goal["under"])
        what = goal.get("value") or f"{goal['over']} / {goal['under']}"
        if "at_most" not in goal and "at_least" not in goal:
            lines.append(f"| {row['title']} | {what} | {spread(found)} | | {goal['note']} |")
            continue
        sign, limit = ("<=", goal["at_most"]) if "at_most" in goal else (">=", goal["at_least"])
        middle = statistics.median(found) if found else None
        met = middle is not None and (middle <= limit if sign == "<=" else middle >= limit)
        lines.append(f"| {row['title']} | {what} | {spread(found)} | {sign} {limit} | {'met' if met else 'missed'} |")
    return lines


def markdown(about: dict, rows: list[dict]) -> str:
    out = [
        f"# The file store compared, {about['date']}",
        "",
        f"Commit {about['commit']}. {about['machine']}.",
        f"{about['versions']}. TLS 1.3 with {about['cipher']}, loopback, {about['rounds']} alternating rounds after one",
        "that is not counted; every server with one thread of its own kind and without an access log. Ratios are",
        "taken within a round: median, and in brackets the least and the greatest. CPU is user and system time of the",
        "server's process, so that a slow client costs it nothing.",
        "",
        *goals_table(rows),
        "",
    ]
    for row in rows:
        out += [f"## {row['title']}", "", f"{row['unit']}.", "", "| contender | median (least-greatest) |", "|---|---|"]
        out += [f"| {name} | {spread(values(row, name), row.get('digits', 2))} |" for name in contenders(row)]
        out.append("")
    return "\n".join(out)


def goals_table(rows: list[dict]) -> list[str]:
    head = ["| row | what | measured | goal | |", "|---|---|---|---|---|"]
    return [*head, *(line for row in rows for line in goal_lines(row))]


def as_csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "unit", "round", "contender", "value"])
    for row in rows:
        for number, turn in enumerate(row["rounds"]):
            for name, value in turn.items():
                writer.writerow([row["title"], row["unit"], number, name, f"{value:.6g}"])
    return text.getvalue()


def block(about: dict, rows: list[dict]) -> str:
    """What stands between the marks of a document."""
    note = (
        f"Measured {about['date']} at {about['commit']} ({about['machine']}; {about['versions']}): "
        f"`results/store/{about['date']}/`."
    )
    return "\n".join([BEGIN, *goals_table(rows), "", note, END])


def replace_block(document: str, new: str) -> str:
    before, rest = document.split(BEGIN, 1)
    return before + new + rest.split(END, 1)[1]
