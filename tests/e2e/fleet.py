"""What the tests of a fleet share: a fleet, its status, and steady requests against it."""

import itertools
import json
import threading

import client_v1
import client_v1_1
import harness
import samples

#: How often a master looks here, so that the tests need not wait for seconds.
CHECKS = ("--check-interval", "100ms", "--check-timeout", "1s")

#: A text is the quickest to convert of all that there is.
TEXT = b"A line of text.\n"


class FleetCase(harness.Case):
    """A test with a master and several workers."""

    def start_fleet(self, io, count, master_args=(), worker_args=()):
        """`count` workers and a master in front of them; all workers are up."""
        workers = [self.start_worker("--io", io, *worker_args) for _ in range(count)]
        specs = [self.spec(worker) for worker in workers]
        master = self.start_master_of(specs, "--io", io, *master_args)
        self.wait_for_states(master, {spec: "up" for spec in specs})
        return workers, master

    def start_master_of(self, specs, *args):
        """A master of these workers, which looks at them often."""
        listed = itertools.chain.from_iterable(("--worker", spec) for spec in specs)
        return self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs,
            "--token-file", self.token_file, *CHECKS, *listed, *args)

    @staticmethod
    def spec(worker):
        """The worker's address, as a master is given it."""
        host, port = worker.address()
        return f"{host}:{port}"

    def status(self, master):
        """The status, as `fxsrv status --json` prints it."""
        host, port = master.address()
        done = harness.run(
            "status", "--json", "--server", f"{host}:{port}", "--ca", self.certs / "ca.pem",
            "--token-file", self.token_file)
        return json.loads(done.stdout)

    def fleet(self, master):
        """The lines of the workers, by their addresses: as the wire has them, which is quicker."""
        text = self.convert_v1_1(master.address(), client_v1_1.STATUS, b"").decode()
        workers = {}
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key.startswith("worker."):
                _, number, key = key.split(".", 2)
                workers.setdefault(number, {})[key] = int(value) if value.isdigit() else value
        return {worker["address"]: worker for worker in workers.values()}

    def states(self, master):
        """The state of each worker, by its address."""
        return {address: worker["state"] for address, worker in self.fleet(master).items()}

    def wait_for_states(self, master, expected):
        """Waits until the master sees its workers so."""
        seen = {}

        def as_expected():
            seen.update(now=self.states(master))
            return seen["now"] == expected
        try:
            harness.eventually("the master sees its workers", as_expected)
        except AssertionError as error:
            raise AssertionError(f"{error}; it sees {seen}, not {expected}") from None

    def load(self, master, kinds=("v1.0", "v1.1", "v1.1"), per_connection=5):
        """Steady requests against a master, one client for each of `kinds`."""
        return Load(self, master.address(), kinds, per_connection)


class Load:
    """Clients on threads. Leave it by `with`, and every failure is raised."""

    def __init__(self, case, address, kinds, per_connection):
        self.case, self.address, self.per_connection = case, address, per_connection
        self.done, self.failures = itertools.count(), []
        self.total = 0
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.run, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(harness.PATIENCE_S)
        if kind is None and self.failures:
            raise AssertionError(
                f"{len(self.failures)} of {self.total} requests failed: {self.failures[:5]}")

    def wait_for(self, count):
        """Waits until `count` requests are done from now on."""
        target = self.total + count
        harness.eventually(
            f"{count} requests are done", lambda: self.total >= target or self.failures, 120)

    def run(self, kind):
        while not self.over.is_set() and len(self.failures) < 20:
            try:
                if kind == "v1.0":
                    samples.check_pdf(self.case.convert_v1(
                        self.address, client_v1.TEXT_TO_PDF, TEXT))
                    self.count()
                else:
                    self.kept_connection()
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(f"{kind}: {error!r}")

    def kept_connection(self):
        """Several requests over one connection."""
        with client_v1_1.Connection(
                self.address, self.case.context, harness.TOKEN) as connection:
            for _ in range(self.per_connection):
                samples.check_pdf(connection.convert(client_v1.TEXT_TO_PDF, TEXT))
                self.count()

    def count(self):
        """One more is done. The counter is one step of the interpreter."""
        self.total = next(self.done) + 1
