"""The file store on disks that fail, under histories that must be serial, and over many operations."""

import os
import random
import re
import shutil
import subprocess
import threading
import time
import unittest

import harness
from client_store import NOT_FOUND, REFUSED, Client
from test_store import Store

EIO = "Input/output error"


@unittest.skipUnless(shutil.which("strace"), "strace is missing: `apt-get install strace`")
class SystemCalls(Store):
    """One system call fails, each time: strace puts the error in its place."""

    def start_failing(self, io, calls, *filters):
        """A store whose `calls` all fail with EIO."""
        return self.start_store("--io", io, wrapper=(
            "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
            "-e", f"inject={calls}:error=EIO", "-e", "signal=none", *filters))

    def start_store(self, *args, **popen):
        return self.start(
            "store", "--root", self.root, "--listen", "127.0.0.1:0", "--plain", *args, **popen)

    def setUp(self):
        super().setUp()
        self.large = random.Random(2).randbytes(200_000)
        store = self.start_store()
        with Client(store.address()) as client:
            for name, data in (("f", b"1\n2\n"), ("large", self.large)):
                self.assertEqual(client.put(name, data), 0)
        store.end()

    def test_a_put_that_the_disk_fails_is_refused_and_leaves_the_earlier_file(self):
        for calls, sizes in (
                ("fsync", (10, 200_000)), ("fsetxattr", (10, 200_000)), ("pwrite64", (10,)),
                ("renameat,renameat2", (10, 200_000))):
            for io in harness.DRIVERS:
                with self.subTest(calls=calls, io=io):
                    store = self.start_failing(io, calls)
                    with Client(store.address()) as client:
                        for size in sizes:
                            self.assertEqual(client.put("f", bytes(size)), REFUSED)
                            self.assertEqual(client.put("new", bytes(size)), REFUSED)
                        self.assertEqual(client.get("f"), b"1\n2\n", "the connection goes on")
                        self.assertEqual(client.get("new"), NOT_FOUND)
                    harness.eventually("removal of the drafts", lambda: not self.drafts())
                    store.await_log(EIO)
                    store.await_log("ERROR")
                    store.end()

    def test_what_the_directory_was_not_synced_for_is_not_acknowledged(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_failing(io, "fsync", "-P", str(self.root))
                with Client(store.address()) as client:
                    self.assertEqual(client.put("f", b"1\n2\n"), REFUSED)
                    self.assertEqual(client.change("f", f"moved-{io}"), REFUSED)
                    # Whatever has become of the names, each stands for something whole.
                    for name in ("f", f"moved-{io}"):
                        self.assertIn(client.get(name), (b"1\n2\n", NOT_FOUND))
                    client.change(f"moved-{io}", "f")
                store.end()

    def test_a_file_that_cannot_be_read_is_refused(self):
        for calls, io, name in (
                ("preadv2", "uring", "f"), ("preadv2", "epoll", "f"),
                ("preadv2", "epoll", "large"), ("fgetxattr", "uring", "f"),
                ("fgetxattr", "epoll", "large")):
            with self.subTest(calls=calls, io=io, name=name):
                store = self.start_failing(io, calls)
                with Client(store.address()) as client:
                    self.assertEqual(client.get(name), REFUSED)
                    self.assertEqual(client.get("missing"), NOT_FOUND, "the connection goes on")
                store.await_log(EIO)
                store.end()
        # A program's own libraries are read by the same call.
        store = self.start_failing("uring", "pread64", "-P", str(self.root / "f"))
        with Client(store.address()) as client:
            self.assertEqual(client.summary("f"), REFUSED)
        store.await_log(EIO)

    def drafts(self):
        return [name for name in self.names() if name.startswith(".fxsrv-tmp")]


def can_loop():
    """Whether this place has loop devices and lets us mount them."""
    return (os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None
            and subprocess.run(["losetup", "-f"], capture_output=True).returncode == 0)


@unittest.skipUnless(can_loop(), "mounting an image needs root, mkfs.ext4 and loop devices")
class Disks(Store):
    """A disk that really fails, below a real file system: an image whose end is cut off or full."""

    def mount(self, image, image_bytes):
        image.touch()
        os.truncate(image, image_bytes)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.root], check=True)

    def test_a_disk_that_cannot_be_read_gives_files_whole_or_not_at_all(self):
        image = self.dir / "image"
        self.mount(image, 32 << 20)
        contents = {f"f{n}": random.Random(n).randbytes(1_500_000) for n in range(12)}
        store = self.start_store()
        with Client(store.address()) as client:
            for name, content in contents.items():
                self.assertEqual(client.put(name, content), 0)
        store.end()
        for name in contents:
            with open(self.root / name, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.truncate(image, 14 << 20)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io)
                failed = sum(self.fails(store, name, data) for name, data in contents.items())
                self.assertGreater(failed, 0, "the disk has not failed at all")
                store.await_log(EIO)
                store.end()
        done = harness.run("store", "scrub", "--root", self.root, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(EIO.encode(), done.stdout)

    def fails(self, store, name, content):
        """Whether a GET fails; where it does not, it must bring the file."""
        with Client(store.address()) as client:
            try:
                got = client.get(name)
            except (EOFError, ConnectionResetError):
                return True
            if got != REFUSED:
                self.assertEqual(got, content)
            return got == REFUSED

    def test_a_disk_that_cannot_be_written_acknowledges_nothing_that_is_lost(self):
        backing = self.dir / "backing"
        backing.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", backing], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", backing], check=True)
        self.mount(backing / "image", 64 << 20)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store, kept = self.start_store("--io", io), {}
                for number in range(40):
                    content = random.Random(number).randbytes(900_000)
                    with Client(store.address()) as client:
                        code = client.put(f"{io}-{number}", content)
                    if code != 0:
                        break
                    kept[f"{io}-{number}"] = content
                self.assertEqual(code, REFUSED, "the disk has taken more than it holds")
                harness.eventually("the log says why", lambda store=store: re.search(
                    f"{EIO}|No space left|Read-only", store.log()))
                with Client(store.address()) as client:
                    for name, content in kept.items():
                        self.assertEqual(client.get(name), content)
                store.end()


class Histories(Store):
    """Whatever clients do at once, it is as if they had done it one after the other."""

    ROUNDS = 100

    def test_puts_and_changes_of_the_same_names_have_a_serial_order(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io, "--threads", "2", "--durability", "none")
                self._many_rounds(store.address(), random.Random(io))
                store.end()

    def _many_rounds(self, address, dice):
        clients = [Client(address) for _ in range(4)]
        try:
            for number in range(self.ROUNDS):
                before = {name: clients[0].get(name) for name in ("f", "g")}
                scripts = [self._script(who, number, dice) for who in range(len(clients))]
                history = self._at_once(clients, scripts)
                now = time.monotonic()
                for name in ("f", "g"):
                    got = clients[0].get(name)
                    history.append((now, now := time.monotonic(), ("get", name), got))
                self.assertTrue(
                    is_serial(before, history),
                    f"round {number}: no order explains {[show(step) for step in history]}")
        finally:
            for client in clients:
                client.socket.close()

    def _script(self, who, number, dice):
        """What one client does in a round: two put, one renames, one looks."""
        if who < 2:
            size = dice.choice((20, 5000, 100_000))
            return [("put", "f", f"{number}-{who}-".encode().ljust(size, b"x"))]
        if who == 2:
            return dice.sample([("change", "f", "g"), ("change", "g", "f")], 2)
        return [("get", dice.choice("fg")) for _ in range(2)]

    def _at_once(self, clients, scripts):
        history, barrier = [], threading.Barrier(len(clients))

        def work(client, script):
            barrier.wait()
            for step in script:
                started = time.monotonic()
                result = getattr(client, step[0])(*step[1:])
                history.append((started, time.monotonic(), step, result))

        threads = [threading.Thread(target=work, args=both) for both in zip(clients, scripts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return history

    def test_the_judge_knows_a_history_that_is_none(self):
        put = (0, 1, ("put", "f", b"new"), 0)
        early, late = (2, 3, ("get", "f"), b"old"), (0, 3, ("get", "f"), b"old")
        self.assertFalse(is_serial({"f": b"old"}, [put, early]))
        self.assertTrue(is_serial({"f": b"old"}, [put, late]))
        torn = (0, 1, ("get", "f"), b"ne")
        self.assertFalse(is_serial({"f": b"old"}, [put, torn]))


def show(step):
    """A step without its megabytes."""
    def short(value):
        return value[:12] if isinstance(value, bytes) else value
    return tuple(map(short, step[2])), short(step[3])


def is_serial(state, history):
    """Whether the steps could have been done one after the other: each between its beginning and its
    end, and with its result. `state` is what each name stood for before."""
    seen = set()

    def search(left, state):
        if not left:
            return True
        key = (frozenset(left), tuple(sorted((name, str(data)[:40]) for name, data in state.items())))
        if key in seen:
            return False
        seen.add(key)
        first_end = min(history[index][1] for index in left)
        for index in left:
            started, _, step, result = history[index]
            if started <= first_end:
                after, expected = perform(step, state)
                if expected == result and search(left - {index}, after):
                    return True
        return False

    return search(frozenset(range(len(history))), dict(state))


def perform(step, state):
    """What the store should do with one step: the state after it, and its answer."""
    op, name, *more = step
    there = state.get(name, NOT_FOUND)
    if op == "get":
        return state, there
    if op == "put":
        return {**state, name: more[0]}, 0
    if there == NOT_FOUND:
        return state, NOT_FOUND
    if state.get(more[0], NOT_FOUND) != NOT_FOUND:
        return state, REFUSED
    return {**state, name: NOT_FOUND, more[0]: there}, 0


class Sizes(Store):
    """Files that the protocol has no size for."""

    def setUp(self):
        super().setUp()
        self.huge = self.dir / "huge"
        self.huge.touch()
        os.truncate(self.huge, 5_000_000_000)

    def test_a_file_of_5_gb_is_not_sent(self):
        store = self.start_store()
        host, port = store.address()
        done = harness.run("put", self.huge, "--server", f"{host}:{port}", "--plain", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"5000000000", done.stderr.replace(b",", b""))
        self.assertEqual(self.names(), [])

    def test_a_file_of_5_gb_that_was_put_there_by_hand_is_refused(self):
        os.link(self.huge, self.root / "huge")
        for io in harness.DRIVERS:
            store = self.start_store("--io", io)
            with Client(store.address()) as client:
                self.assertEqual(client.get("huge"), REFUSED)
                self.assertEqual(client.help(), "bye change get help put summary")
            store.await_log("over the limit")
            store.end()

    def test_a_size_over_the_limit_is_refused_before_its_body(self):
        store = self.start_store("--max-file", "1 GiB")
        with Client(store.address()) as client:
            client.socket.sendall(b"\x04huge\xff\xff\xff\xff")
            self.assertEqual(client.socket.recv(1), b"\xa0")
        self.assertEqual(self.names(), [])


class LongLives(Store):
    """What a store holds does not grow with what it has done."""

    OPERATIONS = 10_000

    def test_ten_thousand_operations_leave_descriptors_and_memory_as_they_were(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io, "--durability", "none", "--log", "warn")
                address = store.address()
                listening = self._kinds(store).count("socket:[]")
                self._operate(address, self.OPERATIONS // 2)
                fds, memory = self._settled(store, listening), store.rss_bytes()
                self._operate(address, self.OPERATIONS // 2)
                self.assertEqual(self._settled(store, listening), fds)
                self.assertLess(store.rss_bytes() - memory, 2 << 20)
                store.end()

    def _operate(self, address, count):
        done, large = 0, bytes(100_000)
        while done < count:
            with Client(address) as client:
                for number in range(10):
                    name = f"n{number}"
                    self.assertEqual(client.put(name, b"1\n2\n"), 0)
                    self.assertEqual(client.get(name), b"1\n2\n")
                    self.assertEqual(client.put("large", large), 0)
                    self.assertEqual(client.get("large"), large)
                    self.assertEqual(client.change(name, "other"), 0)
                    self.assertEqual(client.change("other", name), 0)
                    self.assertEqual(client.get("missing"), NOT_FOUND)
                    self.assertEqual(client.summary("large"), REFUSED)
                    self.assertEqual(client.summary(name), b"Max: 2.0\nMin: 1.0\nAvg: 1.5\n")
                    done += 9
                client.socket.sendall(b"\x04half\x00\x01\x00\x00cut off")

    def _kinds(self, store):
        """Its descriptors, without the numbers of what they are for."""
        return sorted(re.sub(r"\d+", "", target) for target in store.fds().values())

    def _settled(self, store, listening):
        """Its descriptors, once all connections have ended."""
        harness.eventually("end of the connections", lambda: self._kinds(store).count(
            "socket:[]") == listening)
        harness.eventually("removal of the drafts", lambda: not any(
            name.startswith(".fxsrv-tmp") for name in self.names()))
        return self._kinds(store)


if __name__ == "__main__":
    unittest.main()
