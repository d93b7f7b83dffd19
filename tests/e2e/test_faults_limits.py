"""Few buffers under load: requests wait, and none fails."""

import unittest

import client_v1
import faults
import harness
import test_limits

#: More than there are buffers for at once.
CLIENTS = 12


class Loaded(faults.Case):
    """Requests that find no buffers wait in line."""

    def check_load(self, master):
        """More clients than buffers, and all of them have their answers."""
        self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, faults.BODY)
        before = self.at_rest(master)
        with self.traffic(master.address(), clients=CLIENTS) as traffic:
            traffic.goes_on(10 * CLIENTS)
        self.check_rest(before)


class FewBuffers(Loaded):
    """A pool of the smallest size."""

    def test_the_fewest_buffers(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, _ = self.start_tiers(io, ("--buffers", "8"), ("--buffers", "8"))
                self.check_load(master)


class FewLocked(test_limits.Confined, Loaded):
    """An ordinary user whose memlock limit is below what the pool would register."""

    def test_load_within_a_memlock_limit(self):
        for memlock in (512 * 1024, 1024 * 1024):
            with self.subTest(memlock=memlock):
                master = self.start_confined(memlock, "--io", "uring")
                self.check_load(master)


if __name__ == "__main__":
    unittest.main()
