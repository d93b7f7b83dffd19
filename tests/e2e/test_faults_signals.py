"""SIGTERM and SIGINT while many requests are on their way."""

import re
import signal
import unittest

import client_v1
import faults
import harness

#: An end at once: what an orderly process takes for it on a busy machine.
AT_ONCE_S = 5

CLIENTS = 8


class UnderLoad(faults.Case):
    """What a master has begun it finishes, or leaves at once, as it is told."""

    def start_under_load(self, io):
        """Tiers at rest, and traffic whose clients expect the end of the master."""
        worker, master, address = self.start_tiers(io)
        self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY)
        before = self.at_rest(worker)
        return worker, master, before, self.traffic(
            address, clients=CLIENTS, allowed=lambda error: master.signalled)

    @staticmethod
    def begun(master):
        """Requests that the master has begun, by the code that they came to."""
        lines = re.findall(r'operation="PDF" code="(\w+)"', master.log())
        return {code: lines.count(code) for code in lines}

    def test_sigterm_answers_all_that_has_begun(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, before, traffic = self.start_under_load(io)
                master.signalled = False
                with traffic:
                    traffic.goes_on(50)
                    master.signalled = True
                    master.signal(signal.SIGTERM)
                    self.assertEqual(master.wait(AT_ONCE_S), 0)
                    traffic.end()
                # The first request was before the traffic.
                self.assertEqual(self.begun(master), {"OK": traffic.answered + 1})
                self.check_rest(before)

    def test_sigint_leaves_nothing_behind(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, before, traffic = self.start_under_load(io)
                master.signalled = False
                with traffic:
                    traffic.goes_on(50)
                    master.signalled = True
                    master.signal(signal.SIGINT)
                    self.assertEqual(master.wait(AT_ONCE_S), 0)
                    traffic.end()
                self.check_rest(before)
                # The worker serves the next master as if nothing had been.
                again = self.start_master(worker.address(), "--io", io)
                with self.traffic(again.address()) as traffic:
                    traffic.goes_on(20)
                self.check_rest(before)


if __name__ == "__main__":
    unittest.main()
