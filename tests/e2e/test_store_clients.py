"""The file store's promises to clients and operators, one by one: clients of every habit, what is logged, what survives
a loss of power, what is found at the start, and the command line over a connection that breaks."""

import json
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest

import harness
from client_store import NOT_FOUND, REFUSED, Client
from test_store import Store

HELP = b"\xdfbye change get help put summary"


def read_to_end(stream):
    """All that comes until the other side ends it."""
    got = b""
    while more := stream.recv(65536):
        got += more
    return got


class Habits(Store):
    """Clients differ in what they send, in how many pieces, and in how they leave."""

    def over_all(self, test):
        """Runs a test with a store on each driver, with TLS and without, and a way to connect to it."""
        for io in harness.DRIVERS:
            for secured in (False, True):
                with self.subTest(io=io, tls=secured):
                    args = ("--certs", self.certs) if secured else ("--plain",)
                    store = self.start("store", "--root", self.root, "--listen", "127.0.0.1:0", "--io", io, *args)
                    context, address = self.context if secured else None, store.address()
                    test(store, lambda context=context, address=address, **more: Client(address, context, **more))
                    store.end()
                    shutil.rmtree(self.root)
                    self.root.mkdir()

    def test_the_hand_outs_rules_over_tls_too(self):
        def check(_, connect):
            for end, moved in ((b"", "m.txt"), (b"\0", "o.txt")):
                with connect(name_end=end) as client:
                    self.assertEqual(client.put("n.txt", b"4.5\n1\n\n2.375\n"), 0)
                    self.assertEqual(client.get("n.txt"), b"4.5\n1\n\n2.375\n")
                    self.assertEqual(client.summary("n.txt"), b"Max: 4.5\nMin: 1.0\nAvg: 2.625\n")
                    self.assertEqual(client.change("n.txt", moved), 0)
                    self.assertEqual(client.get("n.txt"), NOT_FOUND)
                    self.assertEqual(client.put("n.txt", b"x" * 5000), 0)
                    self.assertEqual(client.get("n.txt"), b"x" * 5000)
                    self.assertEqual(client.change(moved, "n.txt"), REFUSED)
                    self.assertEqual(client.summary("n.txt"), REFUSED)
                    self.assertEqual(client.help(), HELP[1:].decode())
                    client.bye()

        self.over_all(check)

    def test_every_field_may_come_in_a_send_of_its_own(self):
        def check(_, connect):
            with connect() as client:
                for field in (b"\x09", b"file", b".txt\0", b"\0\0", b"\0\x0c", b"hello ", b"world\n"):
                    client.socket.sendall(field)
                self.assertEqual(client.exactly(1), b"\0")
                for field in (b"\x49", b"file.txt\0", b"\x02", b"f\0"):
                    client.socket.sendall(field)
                self.assertEqual(client.exactly(1), b"\0")
                for field in (b"\x22", b"f\0"):
                    client.socket.sendall(field)
                expected = b"\x21f\0\0\0\x0chello world\n"
                self.assertEqual(client.exactly(len(expected)), expected)

        self.over_all(check)

    def test_hundreds_of_requests_in_one_send_are_answered_in_order(self):
        def check(_, connect):
            with connect() as client:
                for number in range(50):
                    self.assertEqual(client.put(f"f{number:02}", f"{number}".encode() * 100), 0)
                requests, answers = b"", b""
                for number in range(500):
                    name, data = f"f{number % 50:02}".encode(), f"{number % 50}".encode() * 100
                    requests += b"\x23" + name
                    answers += b"\x23" + name + struct.pack(">I", len(data)) + data
                client.socket.sendall(requests + b"\x23f99" + b"\x60")
                answers += b"\x60" + HELP
                self.assertEqual(client.exactly(len(answers)), answers)

        self.over_all(check)

    def test_a_client_that_has_no_more_to_say_hears_the_rest(self):
        store = self.start_store()
        data = os.urandom(3_000_000)
        with Client(store.address()) as client:
            self.assertEqual(client.put("f", data), 0)
            client.socket.sendall(b"\x21f\x21f\x21x")
            client.socket.shutdown(socket.SHUT_WR)
            answer = b"\x21f" + struct.pack(">I", len(data)) + data
            self.assertEqual(read_to_end(client.socket), 2 * answer + b"\x60")

    def test_clients_that_leave_without_reading_leave_nothing_behind(self):
        def check(store, connect):
            at_rest, said = self.sockets(store), len(store.log().splitlines())
            with connect() as client:
                self.assertEqual(client.put("f", bytes(3_000_000)), 0)
            for number in range(40):
                client = connect()
                client.socket.sendall((b"\x21f", b"\x80", b"\x60", b"\x81", b"\x01g\0\0\0\1x", b"\x61f")[number % 6])
                if number % 2:
                    # A reset, in place of an orderly end.
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.socket.close()
            harness.eventually("the end of the connections", lambda: self.sockets(store) <= at_rest)
            for line in store.log().splitlines()[said:]:
                if "the limit of open files" in line:
                    # A warning of the start, which may be read late.
                    continue
                self.assertNotRegex(line, r"WARN|ERROR|connection (failed|ended)", "a client's leave is no event")
            with connect() as client:
                self.assertEqual(len(client.get("f")), 3_000_000)

        self.over_all(check)

    @staticmethod
    def sockets(store):
        """Sockets that the store has open."""
        return sum(target.startswith("socket:") for target in store.fds().values())

    def test_one_shot_and_raw_summaries_are_options(self):
        store = self.start_store("--one-shot", "--summary", "raw")
        with Client(store.address()) as client:
            self.assertEqual(client.put("n", b"1\n2\n"), 0)
            self.assertEqual(client.socket.recv(1), b"")
        with Client(store.address()) as client:
            client.socket.sendall(b"\x61n")
            self.assertEqual(read_to_end(client.socket), b"Max: 2.0\nMin: 1.0\nAvg: 1.5\n")


class Operators(Store):
    """What the log says, what is found at the start, and what is synced when."""

    def test_the_line_that_is_no_number_is_on_the_log(self):
        store = self.start_store()
        with Client(store.address()) as client:
            self.assertEqual(client.put("n", b"1\n\n" * 50_000 + b"forty-two\n7\n"), 0)
            self.assertEqual(client.summary("n"), REFUSED)
            self.assertEqual(client.put("empty", b"\n\n"), 0)
            self.assertEqual(client.summary("empty"), REFUSED)
        store.await_log("line 100001 is no finite number")
        store.await_log("there is no number in it")

    def test_a_refusal_says_its_reason_on_the_log_and_goes_on(self):
        store = self.start_store(
            "--max-file", "1000", "--max-files", "2", "--max-total", "1500", "--max-connections-per-address", "2")
        address = store.address()
        with Client(address) as client:
            for name, size, code, reason in (
                    ("a", 1001, REFUSED, "1 over the limit of 1000"),
                    ("a", 1000, 0, None),
                    ("b", 501, REFUSED, "1 over the limit of 1500 for all files"),
                    ("b", 500, 0, None),
                    ("c", 0, REFUSED, "there are 2 files, which is the limit"),
                    ("../c", 1, REFUSED, "a slash at byte 2"),
                    ("..", 1, REFUSED, "is that of a directory"),
                    ("a\tb", 1, REFUSED, "a control character at byte 1"),
                    (".fxsrv-tmp-1", 1, REFUSED, "begins with .fxsrv-"),
                    ("", 1, REFUSED, "the name is empty")):
                self.assertEqual(client.put(name, bytes(size)), code, name)
                if reason:
                    store.await_log(reason)
            self.assertEqual(client.change("a", "b"), REFUSED)
            store.await_log("the new name is taken")
            with Client(address) as second:
                self.assertEqual(second.help(), HELP[1:].decode())
                with Client(address) as third:
                    self.assertEqual(read_to_end(third.socket), b"\xa0")
                store.await_log("too many connections of one address")

    def test_leftovers_are_swept_at_the_start_and_files_are_not(self):
        for name in (".fxsrv-tmp-0", ".fxsrv-tmp-77", ".fxsrv-xxh3-123456"):
            (self.root / name).write_bytes(b"left by a crash")
        (self.root / "f").write_bytes(b"a file")
        (self.root / ".hidden").write_bytes(b"another")
        store = self.start_store()
        store.address()
        self.assertEqual(self.names(), [".hidden", "f"])
        store.await_log("files=2 bytes=13 swept=3")

    def test_scrub_finds_the_byte_that_is_another(self):
        store = self.start_store()
        with Client(store.address()) as client:
            for name, size in (("good", 5000), ("small", 100), ("large", 1_000_000)):
                self.assertEqual(client.put(name, bytes(size)), 0)
            (self.root / "by-hand").write_bytes(b"no checksum")
            for name in ("small", "large"):
                with open(self.root / name, "r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    file.write(b"\1")
            for _ in range(2):
                self.assertEqual(client.get("small"), REFUSED)
                self.assertEqual(client.get("good"), bytes(5000))
            self.assertRaises((EOFError, ConnectionError), client.get, "large")
        harness.eventually("three errors", lambda: store.log().count("the file is damaged") == 3)
        done = harness.run("store", "scrub", "--root", self.root, check=False)
        self.assertEqual(done.returncode, 1)
        lines = sorted(done.stdout.decode().splitlines())
        self.assertEqual(lines[0], "1 good, 1 without a checksum, 2 bad")
        self.assertEqual(lines[1], "by-hand: has no checksum")
        self.assertRegex(lines[2], r"large: the file is damaged: its checksum is [0-9a-f]{32}, and [0-9a-f]{32} was stored")
        self.assertRegex(lines[3], r"small: the file is damaged")

    @unittest.skipUnless(shutil.which("strace"), "strace is missing: `apt-get install strace`")
    def test_each_durability_syncs_what_it_promises(self):
        for durability, of_file, of_directory in (("none", False, False), ("file", True, False), ("full", True, True)):
            with self.subTest(durability=durability):
                trace = self.dir / f"{durability}.strace"
                store = self.start(
                    "store", "--root", self.root, "--listen", "127.0.0.1:0", "--plain", "--durability", durability,
                    wrapper=("strace", "-D", "-f", "-y", "-qq", "-o", trace, "-e", "trace=fsync,fdatasync", "-e", "signal=none"))
                with Client(store.address()) as client:
                    self.assertEqual(client.put("small", b"x"), 0)
                    self.assertEqual(client.put("large", bytes(300_000)), 0)
                    self.assertEqual(client.change("small", f"of-{durability}"), 0)
                store.end()
                synced = trace.read_text()
                self.assertEqual(len(re.findall(r"\.fxsrv-tmp-\d+>", synced)), 2 * of_file, synced)
                self.assertEqual(f"<{self.root}>" in synced, of_directory, synced)


class Breaking:
    """A way to a store that breaks: each connection passes so many bytes of answers, and is then reset."""

    def __init__(self, address, budgets):
        self.address, self.budgets = address, list(budgets)
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            budget = self.budgets.pop(0) if self.budgets else None
            threading.Thread(target=self._pass, args=(near, budget), daemon=True).start()

    def _pass(self, near, budget):
        far = socket.create_connection(self.address)
        try:
            while True:
                ready, _, _ = select.select([near, far], [], [])
                for source in ready:
                    data = source.recv(4096)
                    if source is far and budget is not None:
                        data, budget = data[:budget], budget - len(data)
                    (near if source is far else far).sendall(data)
                    if not data or (budget is not None and budget <= 0):
                        return
        except OSError:
            pass
        finally:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            near.close()
            far.close()

    def end(self):
        """No more connections."""
        self.listener.close()


class CommandLine(Store):
    """`fxsrv put` and the others where the way to the store breaks, and by hand."""

    def setUp(self):
        super().setUp()
        self.store = self.start_store()
        self.data = os.urandom(1_000_000)
        with Client(self.store.address()) as client:
            self.assertEqual(client.put("f", self.data), 0)

    def breaking(self, *budgets):
        """A way that breaks after so many bytes of answers, connection by connection."""
        way = Breaking(self.store.address(), budgets)
        self.addCleanup(way.end)
        return way

    def ask(self, way, *args, **options):
        """Runs one command over it."""
        return harness.run(*args, "--server", way.server, "--plain", cwd=self.dir, check=False, **options)

    def test_a_broken_connection_is_tried_again_from_the_start_and_says_so(self):
        way = self.breaking(400_000, 7)
        done = self.ask(way, "get", "f")
        self.assertEqual((done.returncode, way.count), (0, 3), done.stderr)
        self.assertEqual((self.dir / "f").read_bytes(), self.data)
        self.assertEqual(done.stderr.count(b"trying again from the start"), 2)
        way = self.breaking(0, 0, 0)
        (self.dir / "g").write_bytes(self.data)
        done = self.ask(way, "put", "g", "--json")
        self.assertEqual((done.returncode, way.count), (3, 3), done.stderr)
        self.assertFalse(json.loads(done.stdout)["ok"])
        self.assertIn(b"error: the connection broke off", done.stderr)

    def test_a_change_whose_answer_is_lost_is_not_made_twice(self):
        way = self.breaking(0)
        done = self.ask(way, "change", "f", "g")
        self.assertEqual((done.returncode, way.count), (3, 1), done.stderr)
        self.assertNotIn(b"trying again", done.stderr)

    def test_what_breaks_off_leaves_no_file(self):
        (self.dir / "out").mkdir()
        way = self.breaking(10_000, 10_000, 10_000)
        done = self.ask(way, "get", "f", "-o", "out/f")
        self.assertEqual((done.returncode, way.count), (3, 3), done.stderr)
        self.assertEqual(os.listdir(self.dir / "out"), [])
        done = self.ask(self.breaking(10_000, 10_000, 10_000), "get", "f", "-o", "-")
        self.assertEqual((done.returncode, done.stdout), (3, b""))

    def test_many_files_are_fetched_in_order_whatever_becomes_of_some(self):
        with Client(self.store.address()) as client:
            for number in range(200):
                self.assertEqual(client.put(f"n{number}", f"{number}\n".encode() * 10), 0)
        (self.dir / "out").mkdir()
        (self.dir / "out" / "n7").write_bytes(b"mine")
        names = [f"n{number}" for number in range(200)]
        names[50:50] = ["missing", "a/b", "f"]
        # It breaks in the midst of the large one, and once more behind it.
        way = self.breaking(300_000, 1_002_000)
        done = self.ask(way, "get", *names, "-o", "out/", "--json")
        self.assertEqual((done.returncode, way.count), (1, 3), done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["name"] for line in lines], names)
        self.assertEqual([line["name"] for line in lines if not line["ok"]], ["n7", "missing", "a/b"])
        self.assertEqual((self.dir / "out" / "n7").read_bytes(), b"mine")
        self.assertEqual((self.dir / "out" / "f").read_bytes(), self.data)
        for number in set(range(200)) - {7}:
            self.assertEqual((self.dir / "out" / f"n{number}").read_bytes(), f"{number}\n".encode() * 10)
        self.assertEqual(len(os.listdir(self.dir / "out")), 201, "no draft is left")

    def test_a_pattern_means_the_files_that_it_fits(self):
        for name in ("a.log", "b.log", "c.txt"):
            (self.dir / name).write_bytes(name.encode())
        way = self.breaking()
        done = self.ask(way, "put", "*.log", "--json")
        self.assertEqual([json.loads(line)["name"] for line in done.stdout.splitlines()], ["a.log", "b.log"])
        done = self.ask(way, "put", "*.pdf")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"error: *.pdf: ", done.stderr)
        done = self.ask(way, "files", input=b"put ?.txt\nput [ab].log\nbye\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"c.txt is stored, 5 bytes\na.log is stored, 5 bytes\nb.log is stored, 5 bytes\n", done.stderr)

    def test_the_shell_on_a_terminal_completes_and_remembers(self):
        (self.dir / "a-file-of-mine").write_bytes(b"1\n2\n")
        home = self.dir / "home"
        for first in (True, False):
            shell = Terminal(
                [harness.find_binary(), "files", "--server", "%s:%d" % self.store.address(), "--plain"],
                cwd=self.dir, env=harness.clean_env(HOME=str(home), TERM="xterm"))
            self.addCleanup(shell.end)
            shell.until("> ")
            if first:
                # Commands, files of this machine, and names that were seen.
                shell.type("pu\t a-fi\t n\r", "n is stored, 4 bytes")
                shell.type("summ\t n\r", "Avg: 1.5")
            else:
                # The last line but one of the shell before.
                shell.type("\x1b[A\x1b[A\r", "Avg: 1.5")
            shell.type("bye\r")
            self.assertEqual(shell.wait(), 0)
        self.assertIn("summary n", (home / ".local/state/fxsrv/files-history").read_text())

    def test_a_person_sees_how_far_a_file_is(self):
        terminal = Terminal(
            [harness.find_binary(), "get", "f", "--server", "%s:%d" % self.store.address(), "--plain"],
            cwd=self.dir, env=harness.clean_env(TERM="xterm"))
        self.addCleanup(terminal.end)
        self.assertEqual(terminal.wait(), 0)
        self.assertRegex(terminal.seen, r"f  receiving .* of ")
        self.assertEqual((self.dir / "f").read_bytes(), self.data)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, **popen):
        self.near, far = pty.openpty()
        self.process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, close_fds=True, **popen)
        os.close(far)
        self.seen = ""
        self.mark = 0

    def _read(self):
        """Takes what is there within a moment; `False` is the end."""
        if not select.select([self.near], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self.near, 65536)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def until(self, text):
        """Waits for a text behind the last one that was waited for."""
        ends = time.monotonic() + harness.PATIENCE_S
        while (at := self.seen.find(text, self.mark)) < 0:
            if not self._read() or time.monotonic() > ends:
                raise AssertionError(f"{text!r} did not come: {self.seen!r}")
        self.mark = at + len(text)

    def type(self, keys, expected=None):
        """Types, and waits for what is to be seen then, and for the next prompt."""
        os.write(self.near, keys.encode())
        if expected:
            self.until(expected)
            self.until("> ")

    def wait(self):
        """Reads to the end, and returns the exit code."""
        ends = time.monotonic() + harness.PATIENCE_S
        while self._read():
            if time.monotonic() > ends:
                raise AssertionError(f"it does not end: {self.seen!r}")
        return self.process.wait(harness.PATIENCE_S)

    def end(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
        os.close(self.near)


if __name__ == "__main__":
    unittest.main()
