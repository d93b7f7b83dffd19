"""What a run came to, as a table and as data."""

import datetime
import os
import platform
import statistics
import subprocess

import harness
import injectors


class Report:
    """Made while the servers still live."""

    def __init__(self, soak, seconds, seed):
        ledger = soak.ledger
        self.about = {
            "date": datetime.date.today().isoformat(), "minutes": seconds / 60, "seed": seed,
            "commit": commit(), "kernel": platform.release(), "cores": os.cpu_count(),
            "network": "; ".join(filter(injectors.can_shape, injectors.NETWORKS)) or "left alone: not permitted",
            "disk": "filled at times" if soak.disk else "left alone: not permitted"}
        self.outcomes = {f"{client}: {outcome}": count
                         for (client, outcome), count in sorted(ledger.outcomes.items())}
        self.excused = {f"{client}: {outcome}": count
                        for (client, outcome), count in sorted(ledger.excused.items())}
        self.requests = ledger.entered()
        self.strangers = soak.strangers
        self.faults = dict(sorted(soak.faults.counts().items()))
        self.slopes = {f"{name}: {key}": growth
                       for (name, key), growth in sorted(soak.watcher.slopes().items())}
        self.times = {client: {"median_s": statistics.median(times), "max_s": max(times)}
                      for client, times in sorted(ledger.times.items())}
        self.violations = ledger.violations + [
            {"client": "", "outcome": "", "detail": text, "faults": []}
            for text in (*soak.others, *soak.watcher.leaks(seconds))]

    def is_good(self):
        return not self.violations

    def data(self):
        return {key: value for key, value in vars(self).items()}

    def markdown(self):
        about = self.about
        lines = [
            f"# Soak of {about['date']}", "",
            f"{about['minutes']:g} minutes, seed {about['seed']}, commit {about['commit']}, {about['cores']} cores, Linux "
            f"{about['kernel']}. Network: {about['network']}. The store's disk: {about['disk']}.", "",
            f"**{self.requests} requests, {sum(self.faults.values())} faults, {len(self.violations)} violations.** "
            "A request that did not end well is explained by a fault of its moment, or is a violation.", "",
            "| fault | times |", "|---|---:|",
            *(f"| {kind} | {count} |" for kind, count in self.faults.items()), "",
            "| client: outcome | requests | explained by a fault |", "|---|---:|---:|",
            *(f"| {key} | {count} | {self.excused.get(key, '')} |" for key, count in self.outcomes.items()), "",
            "Beside them: " + ", ".join(f"{count} {name} ones" for name, count in self.strangers.items()) + ".", "",
            "| client | median, s | longest, s |", "|---|---:|---:|",
            *(f"| {client} | {times['median_s']:.3f} | {times['max_s']:.2f} |"
              for client, times in self.times.items()), "",
            "Growth of the servers that no fault killed, by lines through samples, behind the first third of the run:", "",
            "| what | first | last | in an hour, with 95 % confidence |", "|---|---:|---:|---:|",
            *(f"| {key} | {growth['first']} | {growth['last']} | {growth['per_hour']:+.0f} ± {growth['plus_minus']:.0f} |"
              for key, growth in self.slopes.items()), ""]
        if self.violations:
            lines += ["## Violations", ""]
            lines += [f"- {one['client']}: {one['outcome']} {one['detail']} (faults: {', '.join(one['faults']) or 'none'})"
                      for one in self.violations[:50]]
        return "\n".join(lines).rstrip() + "\n"


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=harness.ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
