"""Load on a server: requests that come at a rate of their own, or one after another."""

import threading
import time
from typing import NamedTuple

import client_v1_1


class Ended(NamedTuple):
    """A request that was answered."""

    code: str
    seconds: float
    retry_after_ms: int


class Load:
    """Connections of one token that send the same file over and over, until they are told to end."""

    def __init__(self, case, address, token, operation, body, connections, period_s=0.0):
        self.case, self.address, self.token = case, address, token
        self.operation, self.body, self.period_s = operation, body, period_s
        self.ended, self.failures = [], []
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._send, args=(number / connections,), daemon=True)
            for number in range(connections)]
        for thread in self.threads:
            thread.start()

    def _send(self, phase):
        try:
            with client_v1_1.Connection(self.address, self.case.context, self.token) as connection:
                due = time.monotonic() + phase * self.period_s
                while not self.stop.wait(max(0.0, due - time.monotonic())):
                    began = time.monotonic()
                    connection.send(self.operation, self.body)
                    answer = connection.receive()
                    seconds = time.monotonic() - began
                    self.ended.append(Ended(answer.code, seconds, answer.retry_after_ms))
                    # Who is late goes on from now: what was missed is not made up for.
                    due = max(due + self.period_s, time.monotonic())
        except Exception as error:  # noqa: BLE001: whatever it is, the test has to hear of it
            self.failures.append(error)

    def end(self):
        """Ends it, and returns what was answered."""
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        if self.failures:
            raise self.failures[0]
        return self.ended

    def since(self, count):
        """What was answered after the first `count`."""
        return self.ended[count:]


def times(ended, code):
    """How long the requests with this code took, shortest first."""
    return sorted(one.seconds for one in ended if one.code == code)


def quantile(values, share):
    """A value of a sorted list."""
    return values[min(len(values) - 1, int(len(values) * share))]
