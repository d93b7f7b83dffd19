"""Little memory to lock, few descriptors, no io_uring: said clearly, and served all the same."""

import itertools
import os
import re
import resource
import shutil
import socket
import time
import unittest

import client_v1
import confine
import harness
import samples

#: Users that nobody is. The limit counts all processes of a user, and what one had is given back
#: late: each server is a user of its own.
USERS = itertools.count(20_000 + os.getpid() * 8 % 40_000)

#: What a spinning loop would exceed many times over: the share of one core while all wait.
IDLE_CPU_SHARE_MAX = 0.15
WATCHED_S = 2


def said(size):
    """A size as the messages say it."""
    return f"{size >> 20} MiB" if size % (1 << 20) == 0 else f"{size >> 10} KiB"


def is_closed(connection):
    """Whether the other side has ended a connection on which nobody says anything."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


class Confined(harness.Case):
    """A master as an ordinary user who may lock little memory."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("this test starts a server as another user, and needs root for that")
        # Where the binary was built others may not be let in.
        self.binary = shutil.copy(harness.find_binary(), self.dir / "fxsrv")
        self.dir.chmod(0o755)
        self.worker = self.start_worker()

    def start_confined(self, memlock, *args):
        """A master as an ordinary user."""
        user = next(USERS)
        for path in (self.token_file, self.certs, *self.certs.iterdir()):
            os.chown(path, user, user)
        return self.start_master(
            self.worker.address(), *args, binary=self.binary, user=user, group=user,
            extra_groups=[], preexec_fn=confine.limit(resource.RLIMIT_MEMLOCK, memlock))


class Memlock(Confined):
    """Registered buffers are charged to RLIMIT_MEMLOCK of an ordinary user."""

    def test_a_small_limit_is_warned_of_and_serves(self):
        for memlock in (512 * 1024, 1024 * 1024, 4096 * 1024):
            with self.subTest(memlock=memlock):
                master = self.start_confined(memlock, "--io", "uring", "--threads", "2")
                result = self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG)
                samples.check_picture(result, "png")
                master.await_log("cannot register")
                warnings = re.findall(r".*WARN.*cannot register.*", master.log())
                self.assertEqual(len(warnings), 1, master.log())
                self.assertRegex(
                    warnings[0],
                    r"cannot register 32 buffers of 64 KiB \(2176 KiB\) for each of 2 threads: "
                    rf"the memlock limit is {said(memlock)} for.*`ulimit -l` or LimitMEMLOCK=, lower --buffers, or say `--register-buffers false`")

    def test_no_warning_where_the_buffers_fit(self):
        # What an ordinary user has by default holds the default pools of two threads, of 2,176 KiB
        # each, and their rings.
        master = self.start_confined(8192 * 1024, "--threads", "2")
        samples.check_picture(
            self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")
        self.assertNotIn("cannot register", master.log())

    def test_buffers_that_nobody_wants_registered_need_no_locked_memory(self):
        master = self.start_confined(
            1024 * 1024, "--io", "uring", "--threads", "2", "--register-buffers", "false")
        samples.check_picture(
            self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")
        self.assertNotIn("WARN cannot", master.log())
        self.assertNotIn("memlock", master.log())

    def test_a_limit_that_holds_one_ring_of_four_serves_on_one_thread(self):
        master = self.start_confined(256 * 1024, "--threads", "4")
        for _ in range(4):
            samples.check_picture(
                self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")
        master.await_log("memlock")
        lines = [line for line in master.log().splitlines() if "WARN" in line and "memlock" in line]
        self.assertEqual(len(lines), 1, master.log())
        self.assertRegex(lines[0], "1 of 4 threads serve: io_uring is refused .*memlock")

    def test_a_limit_too_low_for_a_ring_is_named_and_epoll_serves(self):
        master = self.start_confined(0)
        samples.check_picture(
            self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")
        master.await_log("io_uring")
        lines = [line for line in master.log().splitlines() if "io_uring" in line]
        self.assertEqual(len(lines), 1, master.log())
        self.assertRegex(lines[0], "WARN.*epoll")
        self.assertIn("memlock", lines[0])

    def test_a_limit_too_low_for_a_ring_that_was_asked_for(self):
        with self.assertRaises(AssertionError) as caught:
            self.start_confined(0, "--io", "uring").address()
        self.servers[-1].expected_code = 2
        self.assertRegex(str(caught.exception), "ended with 2 .*\n.*error: io_uring.*memlock")


class Descriptors(harness.Case):
    """More connections than descriptors: no spin, and a recovery without help."""

    #: Holds a master with its two threads, and no crowd.
    LIMIT = 64

    def setUp(self):
        super().setUp()
        harness.raise_fd_limit()

    def start_short(self, io):
        """A master whose limit of descriptors sinks once it serves: a server that starts under a low
        one takes no more connections than it holds, and would not come to where it lacks them."""
        worker = self.start_worker("--io", io)
        master = self.start_master(
            worker.address(), "--io", io, "--threads", "2", "--handshake-timeout", "60s",
            "--worker-connections", "0", "--check-interval", "60s")
        master.address()
        # A check that ended later would leave its descriptor to somebody.
        harness.eventually("the worker is up", lambda: "a worker is up" in master.log())
        resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))
        return master

    def crowd(self, master):
        """Connections that take what descriptors there are."""
        crowd = [socket.create_connection(master.address(), timeout=10) for _ in range(100)]
        for connection in crowd:
            self.addCleanup(connection.close)
        harness.eventually(
            "the descriptors are used up", lambda: len(master.fds()) >= self.LIMIT - 1)
        return crowd

    def test_64_descriptors_and_100_connections(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                master = self.start_short(io)
                fds = len(master.fds())
                crowd = self.crowd(master)
                harness.eventually("the log says so", lambda: "cannot accept" in master.log())
                before = master.cpu_s()
                # Not to let something happen: this is the time over which CPU time is counted.
                time.sleep(WATCHED_S)
                share = (master.cpu_s() - before) / WATCHED_S
                self.assertLess(share, IDLE_CPU_SHARE_MAX, "the master spins")
                self.assertLess(master.log().count("cannot accept"), 50, "the log is flooded")
                for connection in crowd:
                    connection.close()
                samples.check_picture(
                    self.convert_v1(master.address(), client_v1.TO_JPG, samples.JPG), "jpg")
                harness.eventually(
                    f"the master is back at {fds} descriptors", lambda: len(master.fds()) <= fds)

    def test_a_master_without_a_descriptor_for_its_worker_says_no_worker(self):
        master = self.start_short("uring")
        with client_v1.connect(master.address(), self.context) as stream:
            crowd = self.crowd(master)
            stream.sendall(client_v1.request_header(
                samples.JPG, client_v1.TO_PNG, harness.TOKEN) + samples.JPG)
            error = client_v1.parse_error(client_v1.read_answer(stream))
            for connection in crowd:
                connection.close()
        self.assertIsNotNone(error)
        self.assertEqual(error.code, "NO_WORKER")

    def test_connections_are_bounded_by_what_the_limit_holds(self):
        # 64 for the server itself, and two for each connection.
        limit, most = 128, 32
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker = self.start_worker("--io", io)
                master = self.start_master(
                    worker.address(), "--io", io, "--threads", "2", "--handshake-timeout", "60s",
                    preexec_fn=confine.limit(resource.RLIMIT_NOFILE, limit))
                address = master.address()
                master.await_log(
                    f"{most} connections instead of 16384: the limit of open files is {limit}")
                crowd = [socket.create_connection(address, timeout=10) for _ in range(3 * most)]
                for connection in crowd:
                    self.addCleanup(connection.close)
                # Those beyond are closed at once, and the others wait for us to speak.
                harness.eventually(
                    f"all but {most} are closed",
                    lambda: sum(map(is_closed, crowd)) == len(crowd) - most)
                self.assertNotIn("cannot accept", master.log())
                for connection in crowd:
                    connection.close()

                def is_served():
                    try:
                        return self.convert_v1(address, client_v1.TO_JPG, samples.JPG)
                    except OSError:
                        return None
                samples.check_picture(harness.eventually("it serves again", is_served), "jpg")


class WithoutIoUring(harness.Case):
    """Where a seccomp filter forbids io_uring, as containers do by default."""

    def test_falls_back_to_epoll_with_one_line(self):
        worker = self.start_worker(preexec_fn=confine.deny_io_uring)
        master = self.start_master(worker.address(), preexec_fn=confine.deny_io_uring)
        samples.check_picture(
            self.convert_v1(master.address(), client_v1.TO_PNG, samples.JPG), "png")
        for server in (worker, master):
            server.await_log("io_uring")
            lines = [line for line in server.log().splitlines() if "io_uring" in line]
            self.assertEqual(len(lines), 1, server.log())
            self.assertIn("WARN", lines[0])
            self.assertIn("epoll", lines[0])
            self.assertIn("seccomp", lines[0])

    def test_an_explicit_wish_fails_clearly(self):
        for role in ("worker", "master"):
            args = ["--token-file", self.token_file, "--worker", "127.0.0.1:1"]
            done = harness.run(
                role, "--listen", "127.0.0.1:0", "--certs", self.certs, "--io", "uring",
                *(args if role == "master" else ()), check=False,
                preexec_fn=confine.deny_io_uring)
            self.assertIn(done.returncode, (2, 3), done.stderr)
            self.assertRegex(done.stderr.decode(), r"error: .*io_uring.*\n(.*\n)*.*hint: ")
            self.assertNotIn(b"listening on", done.stdout)


if __name__ == "__main__":
    unittest.main()
