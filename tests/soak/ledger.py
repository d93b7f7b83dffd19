"""What became of every request, and what was going on meanwhile."""

import collections
import threading
import time

#: How long after its end a fault may still be felt: until the master has looked at its workers again.
AFTERMATH_S = 1.5


class Faults:
    """When which fault was on. Times are of `time.monotonic`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.spans = []

    def begin(self, kind, target):
        """A fault that is on from now; end it with `end`."""
        span = {"kind": kind, "target": target, "begin": time.monotonic(), "end": None}
        with self.lock:
            self.spans.append(span)
        return span

    @staticmethod
    def end(span):
        span["end"] = time.monotonic()

    def during(self, begin, end):
        """The faults that a request between these instants may have felt."""
        with self.lock:
            return [span for span in self.spans if span["begin"] <= end
                    and (span["end"] is None or begin <= span["end"] + AFTERMATH_S)]

    def counts(self):
        with self.lock:
            return collections.Counter(span["kind"] for span in self.spans)


class Ledger:
    """One line for each request: who asked, what it came to, and whether that may be.

    Outcomes are `ok`, a code of the service, and `cut` (the connection ended before an answer), `unreachable`,
    `late` (no answer in time) and `wrong` (an answer that says ok and is not right).
    """

    def __init__(self, faults):
        self.faults = faults
        self.lock = threading.Lock()
        self.begun = 0
        self.outcomes = collections.Counter()
        self.excused = collections.Counter()
        self.violations = []
        self.times = collections.defaultdict(list)

    def request(self, client, act, allowed=(), excuse=lambda outcome, faults: False):
        """Runs `act`, which returns an outcome, and enters it. `allowed` are outcomes beside `ok`; `excuse` says whether
        the faults of that time explain another one."""
        with self.lock:
            self.begun += 1
        begin = time.monotonic()
        outcome, detail = act()
        end = time.monotonic()
        with self.lock:
            self.outcomes[client, outcome] += 1
            if outcome == "ok":
                self.times[client].append(end - begin)
            elif outcome not in allowed:
                faults = self.faults.during(begin, end)
                if outcome != "wrong" and excuse(outcome, faults):
                    self.excused[client, outcome] += 1
                else:
                    self.violations.append({
                        "client": client, "outcome": outcome, "detail": detail, "after_s": end - begin,
                        "faults": [f"{span['kind']} {span['target']}" for span in faults]})
        return outcome

    def entered(self):
        return sum(self.outcomes.values())
