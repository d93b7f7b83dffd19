"""Results of the comparison: CSV, JSON, tables in Markdown, and a plot."""

import argparse
import csv
import json
import re
import statistics
import sys
from pathlib import Path

import chart

ROOT = Path(__file__).resolve().parents[2]

#: Where the tables of a run stand in the documents, between two comments.
DOCUMENTS = ("docs/peers.md", "README.md")
MARK = re.compile(r"(<!-- peers:(\w+) -->\n).*?(<!-- /peers -->)", re.S)

#: Who is in the README's table.
SUMMARY = ("fxsrv-uring", "tokio-64k", "tokio-pooled", "haproxy", "haproxy-64k", "nginx-64k", "stunnel")

#: Measurements, and what is shown of each: its title, a value of a record, digits.
SHOWN = {
    "bulk-1": ("CPU s/GB, 1 connection", lambda row: row["cpu_s"] / row["gigabytes"], 2),
    "bulk-20": ("CPU s/GB, 20 connections", lambda row: row["cpu_s"] / row["gigabytes"], 2),
    "small": ("CPU µs per small request", lambda row: row["cpu_s"] / row["requests"] * 1e6, 0),
    "syscalls-8": ("system calls per MB", lambda row: row["syscalls"] / row["gigabytes"] / 1e3, 1),
}

#: What the reference is to reach: measurement, contender, how many times less it takes.
GOALS = [
    (("bulk-1", "bulk-20"), "haproxy", 2.8),
    (("bulk-1", "bulk-20"), "haproxy-64k", 2.5),
    (("bulk-1", "bulk-20"), "nginx-64k", 2.0),
    (("bulk-1", "bulk-20"), "tokio-64k", 1.2),
    (("small",), "haproxy", 5.0),
    (("small",), "nginx-16k", 4.0),
    (("small",), "tokio-pooled", 1.0),
]
SYSCALLS_MAX = {"fxsrv-uring-64k": 8, "fxsrv-uring": 4}
IDLE_CONNECTION_BYTES_MAX = 20_000
IDLE_RSS_BYTES_MAX = 20_000_000


class Results:
    """Records of a run, and what they come to."""

    def __init__(self, about, records):
        self.about, self.records = about, records
        self.names = about["contenders"]
        self.reference = about["reference"]

    @classmethod
    def read(cls, directory):
        """What `write` has written."""
        return cls(**json.loads((Path(directory) / "results.json").read_text()))

    def write(self, directory):
        """All forms of the results, into one directory."""
        directory.mkdir(parents=True, exist_ok=True)
        whole = {"about": self.about, "records": self.records}
        (directory / "results.json").write_text(json.dumps(whole, indent=1) + "\n")
        columns = dict.fromkeys(key for record in self.records for key in record)
        with open(directory / "results.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.records)
        (directory / "README.md").write_text(self.markdown() + "\n")
        (directory / "peers.svg").write_text(self.plot())

    def rows(self, measurement, contender):
        """Records by their round."""
        return {row["round"]: row for row in self.records
                if (row["measurement"], row["contender"]) == (measurement, contender)}

    def values(self, measurement, contender):
        """What is shown of a measurement, round by round."""
        value = SHOWN[measurement][1]
        return [value(row) for _, row in sorted(self.rows(measurement, contender).items())]

    def ratios(self, measurement, contender):
        """How many times as much as the reference a contender takes, each within its round."""
        value, ours = SHOWN[measurement][1], self.rows(measurement, self.reference)
        theirs = self.rows(measurement, contender)
        pairs = [(value(theirs[number]), value(ours[number])) for number in theirs if number in ours]
        return [their / our for their, our in pairs if our > 0]

    def markdown(self):
        """The whole report."""
        parts = [
            f"# The master beside other proxies, {self.about['date']}", self.header(),
            self.table(), "![CPU beside other proxies](peers.svg)",
            "## Memory", self.memory(), "## Cores", self.threads(),
            "## Goals", self.goals(), "## Load and sink", self.load()]
        return "\n\n".join(part for part in parts if part)

    def header(self):
        """Where and with what it was measured."""
        about = self.about
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        network = ("a network namespace of its own" if about["isolated"]
                   else "the machine's loopback: no namespace of its own was permitted")
        warning = "\n\n**A quick run: it shows that the comparison works, and little more.**" if about["quick"] else ""
        return (
            f"Commit {about['commit']}. {about['cpu']}, {about['cores']} cores, "
            f"{'with' if about['vaes'] else 'without'} VAES, Linux {about['kernel']}, load average at the end "
            f"{about['load_average']}. {network}, {about['congestion_control']}. {versions}. "
            f"System calls counted by `{about['syscalls_by']}`. {about['rounds']} alternating rounds; "
            "medians, and in brackets the smallest and the largest; × is how many times as much as "
            f"{self.names[self.reference]} takes, within each round.{warning}")

    def table(self, measurements=tuple(SHOWN), contenders=None):
        """One line a contender."""
        there = [key for key in measurements if self.rows(key, self.reference)]
        if not there:
            return ""
        lines = ["| contender | " + " | ".join(SHOWN[key][0] for key in there) + " |",
                 "|---|" + "---:|" * len(there)]
        for contender, name in self.names.items():
            cells = [self.cell(key, contender) for key in there]
            if any(cells) and (contenders is None or contender in contenders):
                lines.append(f"| {name} | " + " | ".join(cell or "-" for cell in cells) + " |")
        return "\n".join(lines)

    def cell(self, measurement, contender):
        """Median, spread and ratio."""
        values, digits = self.values(measurement, contender), SHOWN[measurement][2]
        if not values:
            return ""
        text = f"{statistics.median(values):.{digits}f}"
        if len(values) > 1:
            text += f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
        if contender != self.reference:
            text += f" **{statistics.median(self.ratios(measurement, contender)):.2f}×**"
        return text

    def memory(self):
        """Idle processes, idle connections, and peaks under load."""
        lines = []
        for contender, name in self.names.items():
            idle = self.rows("idle", contender).get(0)
            peaks = [row["rss_peak_bytes"] for key in ("bulk-1", "bulk-20", "small")
                     for row in self.rows(key, contender).values()]
            if not idle and not peaks:
                continue
            cells = [f"{max(peaks) / 1e6:.1f}" if peaks else "-"]
            cells += [f"{idle['rss_idle_bytes'] / 1e6:.1f}", f"{idle['connections']:,}",
                      f"{idle['bytes_per_connection'] / 1e3:.1f}",
                      f"{idle['requests']:,}"] if idle else ["-"] * 4
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        head = ("| contender | peak MB under load | MB at rest | idle connections | KB each | answered when they woke |\n"
                "|---|" + "---:|" * 5)
        return "\n".join([head, *lines]) if lines else ""

    def threads(self):
        """The reference on one core and on two."""
        lines = ["| threads | CPU s/GB | MB/s |", "|---:|---:|---:|"]
        for threads in (1, 2):
            rows = self.rows(f"threads-{threads}", self.reference).values()
            if not rows:
                return ""
            cpu = [row["cpu_s"] / row["gigabytes"] for row in rows]
            rate = [row["gigabytes"] * 1e3 / row["seconds"] for row in rows]
            lines.append(f"| {threads} | {statistics.median(cpu):.2f} ({min(cpu):.2f}-{max(cpu):.2f}) | "
                         f"{statistics.median(rate):.0f} ({min(rate):.0f}-{max(rate):.0f}) |")
        note = ("\n\nLoad and sink take more CPU than the master, on the same "
                f"{self.about['cores']} cores: throughput shows them as well.")
        return "\n".join(lines) + note

    def goals(self):
        """What was to be reached, and what was."""
        lines = []
        for measurements, contender, goal in GOALS:
            for key in measurements:
                ratios = self.ratios(key, contender)
                if ratios:
                    got = statistics.median(ratios)
                    lines.append((f"{SHOWN[key][0]}: {self.names[contender]} takes", f"{goal:.1f}× as much",
                                  f"{got:.2f}× ({min(ratios):.2f}-{max(ratios):.2f})", got >= goal))
        for contender, most in SYSCALLS_MAX.items():
            if contender in self.names and self.values("syscalls-8", contender):
                got = statistics.median(self.values("syscalls-8", contender))
                lines.append((f"system calls per MB, {self.names[contender]}", f"at most {most}", f"{got:.1f}", got <= most))
        for row in self.records:
            if row["measurement"] == "idle" and row["contender"].startswith("fxsrv"):
                each, rss = row["bytes_per_connection"], row["rss_idle_bytes"]
                name = self.names[row["contender"]]
                lines.append((f"an idle connection of {row['connections']:,}, {name}", "at most 20 KB",
                              f"{each / 1e3:.1f} KB", each <= IDLE_CONNECTION_BYTES_MAX))
                lines.append((f"at rest, {name}", "at most 20 MB", f"{rss / 1e6:.1f} MB", rss <= IDLE_RSS_BYTES_MAX))
        table = [f"| {what} | {goal} | {got} | {'yes' if is_met else '**no**'} |" for what, goal, got, is_met in lines]
        return "\n".join(["| what | goal | measured | reached |", "|---|---|---|---|", *table]) if table else ""

    def load(self):
        """How busy the core of load and sink was: where it is full, the contender waits for them."""
        lines = []
        for key in ("bulk-1", "bulk-20", "small"):
            for contender, name in self.names.items():
                rows = self.rows(key, contender).values()
                if rows:
                    of = lambda what: statistics.median(row[what] / row["seconds"] for row in rows)
                    lines.append(f"| {key} | {name} | {of('cpu_s'):.2f} | {of('sink_cpu_s'):.2f} | "
                                 f"{statistics.median(row['p50_us'] for row in rows) / 1e3:.1f} | "
                                 f"{statistics.median(row['p99_us'] for row in rows) / 1e3:.1f} |")
        head = ("Cores that the contender and the sink kept busy, and the times of requests in this closed loop.\n\n"
                "| load | contender | contender | sink | median ms | p99 ms |\n|---|---|" + "---:|" * 4)
        return "\n".join([head, *lines]) if lines else ""

    def plot(self):
        """Bars of the three measurements that are about CPU."""
        panels = []
        for key in ("bulk-1", "bulk-20", "small"):
            bars = [(name, self.values(key, contender), contender.startswith("fxsrv"))
                    for contender, name in self.names.items() if self.values(key, contender)]
            if bars:
                panels.append(chart.Panel(SHOWN[key][0], bars, SHOWN[key][2]))
        return chart.draw(panels)

    def block(self, name):
        """A part that documents hold."""
        source = f"results/peers/{self.about['directory']}"
        text = {"table": self.table, "memory": self.memory, "cores": self.threads, "goals": self.goals,
                "header": self.header, "summary": lambda: self.table(contenders=SUMMARY)}[name]()
        if name in ("table", "summary"):
            text += f"\n\nFrom [{source}]({{up}}{source}/README.md)."
        return text + "\n"


def update_documents(directory):
    """Puts the tables of a run between their marks in the documents."""
    results = Results.read(directory)
    results.about["directory"] = Path(directory).resolve().name
    for document in DOCUMENTS:
        path = ROOT / document
        if not path.exists():
            continue
        up = "../" * document.count("/")
        text = path.read_text()
        new = MARK.sub(lambda mark: mark[1] + results.block(mark[2]).replace("{up}", up) + mark[3], text)
        if new != text:
            path.write_text(new)
            print(f"{document} has the tables of {directory}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="of a run, as in results/peers/2026-01-31")
    parser.add_argument("--docs", action="store_true", help="put its tables into docs/peers.md and README.md")
    args = parser.parse_args()
    results = Results.read(args.directory)
    results.write(args.directory)
    if args.docs:
        update_documents(args.directory)


if __name__ == "__main__":
    main()
