"""Few buffers and few descriptors: requests wait, and none of those who are connected is lost."""

import resource
import socket
import unittest

import client_v1
import client_v1_1
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


class FewDescriptors(faults.Case):
    """At the limit of descriptors those who are connected are heard on."""

    LIMIT = 96

    def test_kept_connections_at_the_limit_of_descriptors(self):
        for io in harness.DRIVERS:
            worker = self.start_worker("--io", io)
            master = self.start_master(
                worker.address(), "--io", io, "--handshake-timeout", "60s")
            address = master.address()
            # Once it serves: a server that starts under a low limit takes no more connections than it
            # holds, and would not come to where it lacks descriptors.
            resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))
            self.convert_v1(address, client_v1.TEXT_TO_PDF, faults.BODY)
            before = self.at_rest(worker, master)
            with self.subTest(io=io):
                with client_v1_1.Connection(address, self.context, harness.TOKEN) as kept:
                    for _ in range(2):
                        kept.convert(client_v1.TEXT_TO_PDF, faults.BODY)
                    # A connection to the worker that is kept needs no descriptor; a new one does.
                    keeps = self.status(master)["upstream_reused"] > 0
                    crowd = [self.connect_plain(address) for _ in range(2 * self.LIMIT)]
                    harness.eventually(
                        "the descriptors are used up",
                        lambda master=master: len(master.fds()) >= self.LIMIT - 1)
                    for _ in range(20):
                        kept.send(client_v1.TEXT_TO_PDF, faults.BODY)
                        code = kept.receive().code
                        # A check of the worker that ends leaves its descriptor to a request.
                        self.assertIn(code, ["OK"] if keeps else ["OK", "NO_WORKER"])
                    for connection in crowd:
                        connection.close()
                    harness.eventually(
                        "it is served again", lambda kept=kept: self.is_served(kept))
                self.check_rest(before)

    def connect_plain(self, address):
        """A connection that says nothing."""
        connection = socket.create_connection(address, timeout=harness.PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    @staticmethod
    def is_served(kept):
        """Whether a request on a connection is answered with a result."""
        kept.send(client_v1.TEXT_TO_PDF, faults.BODY)
        return kept.receive().code == "OK"


if __name__ == "__main__":
    unittest.main()
