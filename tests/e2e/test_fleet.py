"""A master over several workers: the choice, health, drains, restarts and reloads."""

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import client_v1
import client_v1_1
import fleet
import harness
import samples

#: Requests during which two workers are restarted. None may fail.
ROLLING_REQUESTS = 2000


class Choice(fleet.FleetCase):
    """Who gets which request."""

    def shares(self, master, count):
        """How many of `count` requests each worker answered, by its address."""
        before = {address: one["answered"] for address, one in self.fleet(master).items()}
        with client_v1_1.Connection(master.address(), self.context, harness.TOKEN) as connection:
            for _ in range(count):
                connection.convert(client_v1.TEXT_TO_PDF, fleet.TEXT)
        after = self.fleet(master)
        return {address: one["answered"] - before[address] for address, one in after.items()}

    def test_a_weight_of_three_to_one_shows_in_the_counts(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers = [self.start_worker("--io", io) for _ in range(2)]
                heavy, light = map(self.spec, workers)
                master = self.start_master_of([f"{heavy},weight=3", light], "--io", io)
                self.wait_for_states(master, {heavy: "up", light: "up"})
                shares = self.shares(master, 400)
                # 400 draws of 3:1 are within 40 of 300 but for one run in 200,000.
                self.assertEqual(sum(shares.values()), 400)
                self.assertAlmostEqual(shares[heavy], 300, delta=40)

    def test_three_workers_share_and_one_of_no_weight_gets_nothing(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers = [self.start_worker("--io", io) for _ in range(3)]
                first, second, idle = map(self.spec, workers)
                master = self.start_master_of([first, second, f"{idle},weight=0"], "--io", io)
                self.wait_for_states(master, {first: "up", second: "up", idle: "up"})
                shares = self.shares(master, 200)
                self.assertEqual(shares[idle], 0)
                self.assertAlmostEqual(shares[first], 100, delta=40)

    def test_a_worker_with_a_large_body_on_its_way_is_passed_over(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master = self.start_fleet(io, 2)
                large = client_v1.request_header(
                    b"", client_v1.TEXT_TO_PDF, harness.TOKEN, size=50_000_000)
                with client_v1.connect(master.address(), self.context) as slow:
                    slow.sendall(large)

                    def holder():
                        workers = self.fleet(master).items()
                        return [address for address, one in workers if one["in_flight_bytes"]]
                    (busy,) = harness.eventually("the large body has a worker", holder)
                    self.assertEqual(self.shares(master, 50)[busy], 0)


class Faults(fleet.FleetCase):
    """Workers that are gone, hang or have no room cost no request."""

    def test_a_worker_that_is_killed(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 3)
                specs = [self.spec(worker) for worker in workers]
                workers[0].kill()
                # The very next requests: nobody has been told yet.
                for _ in range(20):
                    self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
                self.wait_for_states(
                    master, {specs[0]: "down", specs[1]: "up", specs[2]: "up"})
                master.await_log("a worker is down")
                flips = [line for line in master.log().splitlines() if "a worker is down" in line]
                self.assertEqual(len(flips), 1, "only the flip is logged")
                self.assertIn(specs[0], flips[0])
                again = self.start(
                    "worker", "--listen", specs[0], "--certs", self.certs, "--io", io)
                again.address()
                self.wait_for_states(master, dict.fromkeys(specs, "up"))

    def test_a_worker_that_is_stopped(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2, ("--connect-timeout", "1s"))
                specs = [self.spec(worker) for worker in workers]
                workers[0].signal(signal.SIGSTOP)
                try:
                    self.wait_for_states(master, {specs[0]: "down", specs[1]: "up"})
                    started = time.monotonic()
                    for _ in range(20):
                        self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
                    self.assertLess(time.monotonic() - started, 20, "none waited for it")
                finally:
                    workers[0].signal(signal.SIGCONT)
                self.wait_for_states(master, dict.fromkeys(specs, "up"))

    def test_one_worker_at_its_limit_of_connections(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                full = self.start_worker("--io", io, "--max-connections", "1")
                other = self.start_worker("--io", io)
                own = client_v1.tls_context(
                    self.certs / "ca.pem", (self.certs / "client.pem", self.certs / "client.key"))
                with client_v1.connect(full.address(), own) as held:
                    held.sendall(client_v1.request_header(
                        b"", client_v1.TEXT_TO_PDF, "", size=1000))
                    master = self.start_master_of(
                        [self.spec(full), self.spec(other)], "--io", io)
                    for _ in range(20):
                        self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
                    self.wait_for_states(
                        master, {self.spec(full): "down", self.spec(other): "up"})

    def test_all_workers_are_gone(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2)
                for worker in workers:
                    worker.kill()
                with self.assertRaises(client_v1.ServerError) as caught:
                    self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
                self.assertEqual(caught.exception.code, "NO_WORKER")


class Drains(fleet.FleetCase):
    """A worker that leaves says so, and loses nothing."""

    def test_a_rolling_restart_of_two_workers_fails_no_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2)
                specs = [self.spec(worker) for worker in workers]
                with self.load(master) as load:
                    load.wait_for(ROLLING_REQUESTS // 4)
                    for worker, spec in zip(workers, specs):
                        worker.signal(signal.SIGTERM)
                        self.assertEqual(worker.wait(), 0)
                        again = self.start(
                            "worker", "--listen", spec, "--certs", self.certs, "--io", io)
                        again.address()
                        self.wait_for_states(master, dict.fromkeys(specs, "up"))
                        load.wait_for(ROLLING_REQUESTS // 4)
                    load.wait_for(max(0, ROLLING_REQUESTS - load.total))
                self.assertGreaterEqual(load.total, ROLLING_REQUESTS)
                print(f"rolling restart, {io}: 0 of {load.total} requests failed", file=sys.stderr)

    def test_a_worker_that_leaves_says_so_and_ends_its_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2, worker_args=("--notice", "20s"))
                specs = [self.spec(worker) for worker in workers]
                body = samples.PICTURES["png"]
                wire = client_v1.request_header(body, client_v1.TO_JPG, harness.TOKEN) + body
                with client_v1.connect(master.address(), self.context) as stream:
                    stream.sendall(wire[:150])

                    def holder():
                        return [address for address, one in self.fleet(master).items()
                                if one["in_flight"]]
                    (spec,) = harness.eventually("the request is with a worker", holder)
                    leaving = specs.index(spec)
                    workers[leaving].signal(signal.SIGTERM)
                    self.wait_for_states(
                        master, {specs[leaving]: "draining", specs[1 - leaving]: "up"})
                    before = self.fleet(master)[spec]["answered"]
                    for _ in range(20):
                        self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
                    self.assertEqual(self.fleet(master)[spec]["answered"], before)
                    self.assertIsNone(workers[leaving].process.poll(), "it waits for its request")
                    stream.sendall(wire[150:])
                    samples.check_picture(client_v1.read_answer(stream), "jpg")
                self.assertEqual(workers[leaving].wait(), 0)
                master.await_log("a worker is about to leave")


class Reloads(fleet.FleetCase):
    """SIGHUP: certificates, tokens and the list, without a connection that is lost."""

    def config(self, workers):
        """Writes a configuration that lists `workers`, and returns its path."""
        path = self.dir / "master.toml"
        listed = ", ".join(f'"{self.spec(worker)}"' for worker in workers)
        fresh = self.dir / "master.toml.new"
        fresh.write_text(f"[master]\nworker = [{listed}]\n")
        os.replace(fresh, path)
        return path

    def start_configured(self, io, workers):
        """A master whose list is in a file."""
        master = self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--io", io,
            "--token-file", self.token_file, "--config", self.config(workers), *fleet.CHECKS)
        self.wait_for_states(master, {self.spec(worker): "up" for worker in workers})
        return master

    def reload(self, server):
        """Sends SIGHUP, and waits for the line that says it is done."""
        before = server.log().count(" reloaded")
        server.signal(signal.SIGHUP)
        harness.eventually(
            "the server has reloaded", lambda: server.log().count(" reloaded") > before)

    def fingerprint(self, server, context):
        """The certificate that a server shows."""
        with client_v1.connect(server.address(), context) as stream:
            return stream.getpeercert(binary_form=True)

    def renew(self):
        """Another CA and its certificates in the place of the old ones; who trusts them."""
        fresh = self.make_certs("fresh")
        for name in os.listdir(fresh):
            os.replace(fresh / name, self.certs / name)
        shutil.rmtree(fresh)
        return client_v1.tls_context(self.certs / "ca.pem")

    def test_a_list_that_changes_under_load_loses_no_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers = [self.start_worker("--io", io) for _ in range(3)]
                master = self.start_configured(io, workers[:2])
                with self.load(master) as load:
                    load.wait_for(50)
                    for listed in (workers[1:], workers[:1], workers):
                        self.config(listed)
                        self.reload(master)
                        self.wait_for_states(
                            master, {self.spec(worker): "up" for worker in listed})
                        load.wait_for(50)

    def test_certificates_change_while_a_connection_is_open(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker = self.start_worker("--io", io)
                master = self.start_configured(io, [worker])
                old = self.fingerprint(master, self.context)
                with client_v1_1.Connection(
                        master.address(), self.context, harness.TOKEN) as kept:
                    kept.convert(client_v1.TEXT_TO_PDF, fleet.TEXT)
                    fresh = self.renew()
                    self.reload(worker)
                    self.reload(master)
                    kept.convert(client_v1.TEXT_TO_PDF, fleet.TEXT)
                self.context = fresh
                self.assertNotEqual(self.fingerprint(master, fresh), old)
                self.wait_for_states(master, {self.spec(worker): "up"})
                self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)

    def test_certificates_that_are_renewed_under_load_lose_no_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2)
                old = self.fingerprint(master, self.context)
                with self.load(master) as load:
                    load.wait_for(20)
                    kept = harness.run("certs", "renew", "--dir", self.certs, "--within", "30")
                    self.assertIn("nothing ends within 30 days", kept.stderr.decode())
                    done = harness.run("certs", "renew", "--dir", self.certs)
                    self.assertIn("renewed server.pem and client.pem", done.stderr.decode())
                    load.wait_for(20)
                    for server in (*workers, master):
                        self.reload(server)
                        load.wait_for(20)
                # Clients trust the CA, which is the same.
                self.assertNotEqual(self.fingerprint(master, self.context), old)

    def test_a_certificate_that_ends_soon_is_warned_of(self):
        if not shutil.which("openssl"):
            self.skipTest("needs openssl, for a certificate of 10 days")
        (self.certs / "names.cnf").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for command in (
                "req -new -key server.key -subj /CN=short -out short.csr",
                "x509 -req -in short.csr -CA ca.pem -CAkey ca.key -days 10 -set_serial 7"
                " -extfile names.cnf -out server.pem"):
            subprocess.run(
                ["openssl", *command.split()], cwd=self.certs, check=True, capture_output=True,
                timeout=30)
        for server in (self.start_worker(), self.start_master(("127.0.0.1", 1))):
            server.address()
            (line,) = harness.eventually("it warns", lambda server=server: [
                line for line in server.log().splitlines() if "ends soon" in line])
            self.assertRegex(line, r'WARN .*file="server.pem" days_left=(9|10) .*certs renew')

    def test_a_worker_lets_in_the_masters_that_it_names(self):
        harness.run("certs", "renew", "--dir", self.certs, "--client-name", "m1.internal")
        for name, state in (("m1.internal", "up"), ("m2.internal", "down")):
            with self.subTest(name=name):
                worker = self.start_worker("--client-name", name)
                master = self.start_master_of([self.spec(worker)])
                self.wait_for_states(master, {self.spec(worker): state})

    def test_reloads_under_load_lose_no_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                workers, master = self.start_fleet(io, 2)
                with self.load(master) as load:
                    for _ in range(5):
                        for server in (master, *workers):
                            self.reload(server)
                        load.wait_for(40)

    def test_a_token_that_is_changed_is_asked_of_kept_connections_too(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.token_file.write_text(harness.TOKEN + "\n")
                _, master = self.start_fleet(io, 1)
                with client_v1_1.Connection(
                        master.address(), self.context, harness.TOKEN) as kept:
                    kept.convert(client_v1.TEXT_TO_PDF, fleet.TEXT)
                    self.token_file.write_text("another.token\n")
                    self.reload(master)
                    with self.assertRaises(client_v1.ServerError) as caught:
                        kept.convert(client_v1.TEXT_TO_PDF, fleet.TEXT)
                    self.assertEqual(caught.exception.code, "UNAUTHORIZED")
                client_v1.convert(
                    master.address(), self.context, "another.token", client_v1.TEXT_TO_PDF,
                    fleet.TEXT)

    def test_a_bad_file_keeps_the_old_state_and_says_so_in_one_line(self):
        worker = self.start_worker()
        master = self.start_configured("epoll", [worker])
        config = self.dir / "master.toml"
        key = (self.certs / "server.key").read_bytes()
        for spoil, said in (
                (lambda: config.write_text("[master]\nworker = 5\n"), "master.toml"),
                (lambda: config.write_text("[master]\nworker = ['a']\n"), "has no port"),
                (lambda: (self.certs / "server.key").write_text("nothing"), "server.key"),
                (lambda: self.token_file.write_text("\n"), "the token is empty")):
            before = len(master.log().splitlines())
            spoil()
            master.signal(signal.SIGHUP)
            harness.eventually("it says so", lambda: "not reloaded" in "\n".join(
                master.log().splitlines()[before:]))
            errors = [line for line in master.log().splitlines()[before:] if "ERROR" in line]
            self.assertEqual(len(errors), 1, errors)
            self.assertIn(said, errors[0])
            self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, fleet.TEXT)
            self.config([worker])
            (self.certs / "server.key").write_bytes(key)
            self.token_file.write_text(harness.TOKEN + "\n")
        self.reload(master)


class Names(fleet.FleetCase):
    """A name whose addresses are the workers, as they change."""

    def test_addresses_come_and_go(self):
        if os.geteuid() != 0 or not shutil.which("unshare"):
            self.skipTest("needs root and unshare(1), for an /etc/hosts of its own")
        name = "workers.fxsrv.test"
        self.certs = self.dir / "named"
        harness.run("certs", "init", "--dir", self.certs, "--name", "127.0.0.1", "--name", name)
        self.context = client_v1.tls_context(self.certs / "ca.pem")
        first = self.start_worker()
        port = first.address()[1]
        second = self.start("worker", "--listen", f"127.0.0.2:{port}", "--certs", self.certs)
        second.address()
        one, two = f"127.0.0.1:{port}", f"127.0.0.2:{port}"
        hosts = self.dir / "hosts"
        hosts.write_text(f"127.0.0.1 {name}\n")
        script = f'mount --bind "{hosts}" /etc/hosts && exec "$@"'
        if subprocess.run(["unshare", "-m", "sh", "-c", script, "-", "true"],
                          capture_output=True, timeout=30, check=False).returncode:
            self.skipTest("no mount namespace here")
        master = self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs,
            "--token-file", self.token_file, "--workers-dns", f"{name}:{port}",
            "--workers-dns-interval", "100ms", *fleet.CHECKS,
            wrapper=("unshare", "-m", "sh", "-c", script, "-"))
        self.wait_for_states(master, {one: "up"})
        with self.load(master, kinds=("v1.0", "v1.1")) as load:
            hosts.write_text(f"127.0.0.1 {name}\n127.0.0.2 {name}\n")
            self.wait_for_states(master, {one: "up", two: "up"})
            load.wait_for(20)
            hosts.write_text(f"127.0.0.2 {name}\n")
            self.wait_for_states(master, {two: "up"})
            load.wait_for(20)
            # A name that is not found says nothing about the workers.
            hosts.write_text("127.0.0.1 localhost\n")
            harness.eventually("the look-up fails", lambda: "is not resolved" in master.log())
            self.assertEqual(self.states(master), {two: "up"})
            load.wait_for(20)


class Status(fleet.FleetCase):
    """`fxsrv status`."""

    def test_a_table_and_json(self):
        workers, master = self.start_fleet("epoll", 2, worker_args=("--slots", "1"))
        specs = sorted(self.spec(worker) for worker in workers)
        status = self.status(master)
        self.assertEqual((status["role"], status["workers_ready"]), ("master", 2))
        self.assertEqual(sorted(worker["address"] for worker in status["workers"]), specs)
        for worker in status["workers"]:
            self.assertEqual((worker["state"], worker["weight"], worker["slots"]), ("up", 1, 1))
            self.assertGreater(worker["memory_budget_left"], 0)
            self.assertGreater(worker["latency_us"], 0)
            self.assertEqual((worker["busy"], worker["queued"], worker["in_flight"]), (0, 0, 0))
        host, port = master.address()
        ask = ("status", "--server", f"{host}:{port}", "--ca", self.certs / "ca.pem",
               "--token-file", self.token_file)
        table = harness.run(*ask).stdout.decode()
        self.assertRegex(table, r"master .*: 2 of 2 workers ready, 0 requests in flight")
        for spec in specs:
            self.assertRegex(table, rf"{spec} +up +1 +1 +0 +0 +0 ")
        self.assertIn("role=master\n", harness.run(*ask, "--all").stdout.decode())


if __name__ == "__main__":
    unittest.main()
