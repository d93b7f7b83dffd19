"""Whether something grows: samples of the servers that live through the run, and lines through them."""

import math
import threading
import time
from pathlib import Path

import injectors

PERIOD_S = 2

#: The beginning is warming up.
SKIPPED = 0.3

#: Shorter runs have lines that say nothing.
JUDGED_S_MIN = 600

#: What an hour may add, at the lower end of the confidence interval.
GROWTH_MAX = {"rss_bytes": 32 << 20, "fds": 10, "threads": 2, "children": 2, "children_rss_bytes": 64 << 20}


def sample(server):
    """What a process has at this moment."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    threads = int(next(line for line in status.splitlines() if line.startswith("Threads:")).split()[1])
    born = injectors.children(server.pid)
    return {"rss_bytes": server.rss_bytes(), "fds": len(server.fds()), "threads": threads,
            "children": len(born), "children_rss_bytes": sum(map(rss_bytes, born))}


def rss_bytes(pid):
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Watcher(threading.Thread):
    """Samples each of `members` every two seconds."""

    def __init__(self, soak, members):
        super().__init__(daemon=True)
        self.soak, self.members = soak, members
        self.samples = {member.name: [] for member in members}

    def run(self):
        begin = time.monotonic()
        while not self.soak.stopping.wait(PERIOD_S):
            for member in self.members:
                try:
                    self.samples[member.name].append((time.monotonic() - begin, sample(member.server)))
                except (FileNotFoundError, ProcessLookupError, StopIteration):
                    self.soak.violate(f"{member.name} is gone")

    def slopes(self):
        """By member and key: growth in an hour, the half of its 95 % confidence interval, first and last value."""
        found = {}
        for name, points in self.samples.items():
            points = points[int(len(points) * SKIPPED):]
            if len(points) < 10:
                continue
            for key in GROWTH_MAX:
                values = [(at, values[key]) for at, values in points]
                slope, error = line(values)
                found[name, key] = {
                    "per_hour": slope * 3600, "plus_minus": 1.96 * error * 3600,
                    "first": values[0][1], "last": values[-1][1]}
        return found

    def leaks(self, seconds):
        """What has grown more than it may, in words."""
        if seconds < JUDGED_S_MIN:
            return []
        return [
            f"{name}: {key} grows by {growth['per_hour']:.0f} ± {growth['plus_minus']:.0f} in an hour"
            for (name, key), growth in self.slopes().items()
            if growth["per_hour"] - growth["plus_minus"] > GROWTH_MAX[key]]


def line(points):
    """Slope of the line of least squares, and its standard error."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / (count - 2) / spread)
