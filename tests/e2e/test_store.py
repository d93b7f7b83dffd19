"""The file store against accidents: kill -9, a full disk, a read-only root, two at once, noise."""

import hashlib
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import unittest

import client_store
import harness
from client_store import NOT_FOUND, REFUSED, Client

#: Rounds of kill -9, each up to 120 ms after its load began.
KILLS = int(os.environ.get("FXSRV_STORE_KILLS", "200"))


class Store(harness.Case):
    """Starts stores."""

    def setUp(self):
        super().setUp()
        self.root = self.dir / "files"
        self.root.mkdir()

    def start_store(self, *args):
        """A store without TLS over the test's files."""
        return self.start("store", "--root", self.root, "--listen", "127.0.0.1:0", "--plain", *args)

    def names(self):
        return sorted(path.name for path in self.root.iterdir())


class Clients(Store):
    """Clients as the course made them."""

    def test_a_client_of_the_hand_out(self):
        for io in harness.DRIVERS:
            for end in (b"", b"\0"):
                with self.subTest(io=io, end=end):
                    store = self.start_store("--io", io)
                    with Client(store.address(), name_end=end) as client:
                        self.assertEqual(client.put("n.txt", b"4.5\n1\n\n2.375\n"), 0)
                        self.assertEqual(client.get("n.txt"), b"4.5\n1\n\n2.375\n")
                        self.assertEqual(
                            client.summary("n.txt"), b"Max: 4.5\nMin: 1.0\nAvg: 2.625\n")
                        self.assertEqual(client.change("n.txt", "m.txt"), 0)
                        self.assertEqual(client.get("n.txt"), NOT_FOUND)
                        self.assertEqual(client.help(), "bye change get help put summary")
                        client.bye()
                    store.end()
                    shutil.rmtree(self.root)
                    self.root.mkdir()

    def test_requests_may_come_in_any_number_of_sends(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io)
                with Client(store.address()) as client:
                    # Each field in a send of its own, and a length that counts a NUL.
                    for field in (b"\x09", b"file.txt\0", b"\0\0\0\x0c", b"hello ", b"world\n"):
                        client.socket.sendall(field)
                    self.assertEqual(client.exactly(1), b"\0")
                    client.socket.sendall(b"\x29file.txt\0")
                    expected = b"\x28file.txt\0\0\0\x0chello world\n"
                    self.assertEqual(client.exactly(len(expected)), expected)
                    # A length that help has no use for, and help in the manner of an earlier edition.
                    client.socket.sendall(b"\x9f\x60")
                    expected = 2 * b"\xdfbye change get help put summary"
                    self.assertEqual(client.exactly(len(expected)), expected)
                with Client(store.address()) as client:
                    client.socket.sendall(b"\x01a\0\0\0\1x\x21a\x41a\x01b\x21b\x21a")
                    client.socket.shutdown(socket.SHUT_WR)
                    answers = b""
                    while more := client.socket.recv(2048):
                        answers += more
                    self.assertEqual(
                        answers, b"\0\x21a\0\0\0\1x\0\x21b\0\0\0\1x\x60")
                store.end()
                shutil.rmtree(self.root)
                self.root.mkdir()

    def test_numbers_are_written_as_python_writes_them(self):
        numbers = random.Random(7)
        store = self.start_store("--durability", "none")
        with Client(store.address()) as client:
            for _ in range(2000):
                value = numbers.uniform(-1, 1) * 10.0 ** numbers.randint(-320, 300)
                other = float(numbers.getrandbits(60)) / 2 ** numbers.randint(0, 60)
                self.assertEqual(client.put("n", f" {value!r}\n{other!r} ".encode()), 0)
                text = client.summary("n").decode().splitlines()
                self.assertEqual(text[0], f"Max: {max(value, other)!r}")
                self.assertEqual(text[1], f"Min: {min(value, other)!r}")


class CommandLine(Store):
    """The store's commands, over TLS and with a token."""

    def setUp(self):
        super().setUp()
        server = self.start(
            "store", "--root", self.root, "--listen", "127.0.0.1:0", "--certs", self.certs,
            "--auth", self.token_file)
        host, port = server.address()
        self.flags = ("--server", f"{host}:{port}", "--ca", self.certs / "ca.pem",
                      "--token-file", self.token_file)

    def ask(self, *args, **options):
        """Runs one command against the store."""
        return harness.run(*args, *self.flags, cwd=self.dir, **options)

    def test_files_go_and_come_back(self):
        for name, data in (("a.bin", bytes(300_000)), ("n.txt", b"1\n2.5\n")):
            (self.dir / name).write_bytes(data)
        done = self.ask("put", "a.bin", "n.txt", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(line["name"], line["ok"], line["bytes"]) for line in lines],
                         [("a.bin", True, 300_000), ("n.txt", True, 6)])
        self.ask("put", "-", "--as", "piped", input=b"from a pipe")
        self.assertEqual(self.ask("get", "piped", "-o", "-").stdout, b"from a pipe")
        (self.dir / "out").mkdir()
        done = self.ask("get", "a.bin", "missing", "n.txt", "-o", "out", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, b"error: missing: the store has no file of that name\n")
        self.assertEqual(sorted(os.listdir(self.dir / "out")), ["a.bin", "n.txt"])
        self.assertEqual((self.dir / "out/a.bin").read_bytes(), bytes(300_000))
        self.assertEqual(self.ask("get", "n.txt", check=False).returncode, 1, "it exists")
        self.assertEqual(self.ask("summary", "n.txt").stdout, b"Max: 2.5\nMin: 1.0\nAvg: 1.75\n")
        self.assertEqual(
            json.loads(self.ask("summary", "n.txt", "--json").stdout),
            {"op": "summary", "name": "n.txt", "ok": True, "max": 2.5, "min": 1.0, "avg": 1.75})
        self.ask("change", "n.txt", "m.txt")
        self.assertEqual(self.ask("change", "m.txt", "a.bin", check=False).returncode, 1)
        self.assertEqual(self.ask("help").stdout, b"bye change get help put summary\n")

    def test_the_shell_does_as_it_is_told(self):
        (self.dir / "n.txt").write_bytes(b"1\n2\n")
        script = b"put n.txt\nsummary n.txt\nchange n.txt 'a b'\nget 'a b' copy\nbye\nput gone\n"
        done = self.ask("files", input=script)
        self.assertIn(b"Max: 2.0\nMin: 1.0\nAvg: 1.5\n", done.stdout)
        self.assertEqual((self.dir / "copy").read_bytes(), b"1\n2\n")

    def test_a_store_that_is_not_there_or_not_ours_is_told_from_one_that_refuses(self):
        wrong = self.dir / "wrong"
        wrong.write_text("wrong\n")
        wrong.chmod(0o600)
        foreign = self.make_certs("foreign") / "ca.pem"
        server, address, ca, ca_path = self.flags[:4]
        for flags, code in (
                ((server, "127.0.0.1:1", ca, ca_path), 3),
                ((server, address, ca, foreign), 3),
                ((server, address, ca, ca_path, "--token-file", wrong), 1),
                ((server, address), 2)):
            done = harness.run("summary", "x", *flags, check=False)
            self.assertEqual(done.returncode, code, done.stderr)

    def test_help_without_a_store_is_of_the_program(self):
        self.assertIn(b"Usage: fxsrv put", harness.run("help", "put").stdout)
        self.assertIn(b"fxsrv store", harness.run("store", "--help").stdout)


class Accidents(Store):
    """What must lose nothing."""

    def test_kill_9_under_load_leaves_old_or_new_and_all_that_was_acknowledged(self):
        choice = random.Random(3)
        acknowledged = {}
        for round_number in range(KILLS):
            store = self.start_store("--io", harness.DRIVERS[round_number % 2])
            address = store.address()
            self.assertFalse([name for name in self.names() if name.startswith(".fxsrv-tmp")])
            self._check(address, acknowledged)
            under_way = {}
            threads = [threading.Thread(
                target=self._load, args=(address, worker, round_number, acknowledged, under_way))
                for worker in range(4)]
            for thread in threads:
                thread.start()
            threading.Event().wait(choice.uniform(0.0, 0.12))
            store.kill()
            for thread in threads:
                thread.join()
            for name, content in under_way.items():
                acknowledged.setdefault(name, set()).add(content)
        store = self.start_store()
        self._check(store.address(), acknowledged)
        done = harness.run("store", "scrub", "--root", self.root)
        self.assertIn(b" 0 bad", done.stdout)

    def _load(self, address, worker, round_number, acknowledged, under_way):
        """Replaces files until the store is gone. Each name belongs to one thread."""
        data = random.Random(worker * 1000 + round_number)
        try:
            with Client(address) as client:
                while True:
                    name = f"{worker}-{data.randrange(5)}"
                    size = data.choice((10, 1000, 70_000, 1_300_000))
                    content = data.randbytes(size)
                    under_way[name] = hashlib.sha256(content).digest()
                    if client.put(name, content) == 0:
                        acknowledged[name] = {under_way.pop(name)}
                        self.sure.add(name)
        except (OSError, EOFError):
            pass

    def _check(self, address, acknowledged):
        """Each name has one of the contents that it may have, and from now on that alone."""
        with Client(address) as client:
            for name, contents in acknowledged.items():
                got = client.get(name)
                if got == NOT_FOUND:
                    self.assertNotIn(name, self.sure, f"{name} was acknowledged and is gone")
                    continue
                content = hashlib.sha256(got).digest()
                self.assertIn(content, contents, f"{name} is neither the old file nor the new")
                contents.clear()
                contents.add(content)
                self.sure.add(name)

    def setUp(self):
        super().setUp()
        self.sure = set()

    @unittest.skipUnless(os.geteuid() == 0, "mounts need root")
    def test_a_full_disk_refuses_and_keeps_the_earlier_file(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.root], check=True)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io)
                for name, size, code in (
                        ("f", 7, 0), ("f", 3_000_000, REFUSED), ("g", 100_000, 0),
                        ("f", 1_000_000, REFUSED)):
                    # A body of over 1 MiB is not read away after a refusal: that connection is over.
                    with Client(store.address()) as client:
                        self.assertEqual(client.put(name, b"x" * size), code)
                with Client(store.address()) as client:
                    self.assertEqual(client.get("f"), b"x" * 7)
                self.assertFalse([name for name in self.names() if "tmp" in name])
                store.await_log("No space left")
                store.end()

    @unittest.skipUnless(os.geteuid() == 0, "mounts need root")
    def test_a_read_only_root_is_read(self):
        (self.root / "f").write_bytes(b"there")
        subprocess.run(["mount", "--bind", self.root, self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.root], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.root], check=True)
        store = self.start_store()
        with Client(store.address()) as client:
            self.assertEqual(client.get("f"), b"there")
            self.assertEqual(client.put("f", b"x"), REFUSED)
            self.assertEqual(client.change("f", "g"), REFUSED)
            self.assertEqual(client.get("f"), b"there")

    def test_two_puts_and_a_change_at_once_tear_nothing(self):
        store = self.start_store("--durability", "none", "--threads", "2")
        address = store.address()
        contents = [bytes([letter]) * 150_000 for letter in b"ab"]

        def repeat(action):
            with Client(address) as client:
                for _ in range(100):
                    action(client)

        def change(client):
            client.change("f", "g")
            client.change("g", "f")

        actions = [lambda client: client.put("f", contents[0]),
                   lambda client: client.put("f", contents[1]), change]
        threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        with Client(address) as client:
            while any(thread.is_alive() for thread in threads):
                for name in ("f", "g"):
                    got = client.get(name)
                    self.assertTrue(got == NOT_FOUND or got in contents, "a torn file")
        for name in self.names():
            self.assertIn((self.root / name).read_bytes(), contents)

    def test_ten_thousand_files(self):
        store = self.start_store("--durability", "none")
        with Client(store.address()) as client:
            for number in range(10_000):
                self.assertEqual(client.put(f"file-{number}", str(number).encode()), 0)
            for number in range(0, 10_000, 97):
                self.assertEqual(client.get(f"file-{number}"), str(number).encode())
        self.assertEqual(len(self.names()), 10_000)
        store.end()
        store = self.start_store()
        store.address()
        harness.eventually(
            "the number of files on the log", lambda: re.search(r"files=10000\b", store.log()))

    def test_noise_harms_nobody(self):
        store = self.start_store("--max-file", "1 MiB")
        address, noise = store.address(), random.Random(11)
        for _ in range(200):
            with Client(address) as client:
                try:
                    client.socket.sendall(noise.randbytes(noise.randrange(1, 3000)))
                except OSError:
                    pass
        with Client(address) as client:
            self.assertEqual(client.put("f", b"still here"), 0)
            self.assertEqual(client.get("f"), b"still here")
        self.assertFalse([path for path in self.root.rglob("*") if not path.is_file()])

    def test_a_second_store_over_the_same_files_is_refused(self):
        self.start_store().address()
        done = harness.run("store", "--root", self.root, "--plain", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"another store serves", done.stderr)


class Memory(Store):
    """A file's size is not the store's."""

    def test_a_large_file_and_its_summary_take_no_memory(self):
        store = self.start_store("--durability", "none")
        data = b"1234.5678\n" * 10_000_000
        with Client(store.address()) as client:
            self.assertEqual(client.put("n", data), 0)
            self.assertEqual(client.get("n"), data)
            self.assertTrue(client.summary("n").startswith(b"Max: 1234.5678\nMin: 1234.5678\n"))
        with open(f"/proc/{store.pid}/status", encoding="ascii") as status:
            peak_kib = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
        self.assertLess(peak_kib, 48 * 1024)


class Connections(Store):
    """A connection's memory is bounded too, whatever it carries."""

    COUNT, POOL_BYTES, EACH_BYTES = 240, 64 * 64 * 1024, 20 * 1024

    @staticmethod
    def is_quiet(store, seen):
        """Whether it has done nothing the last 20 times that it was looked at."""
        seen.append(store.cpu_s())
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    def test_connections_take_the_pool_and_20_kib_each(self):
        harness.raise_fd_limit()
        for io in harness.DRIVERS:
            for size in (1 << 20, 64 << 20):
                with self.subTest(io=io, size=size):
                    store = self.start(
                        "store", "--root", self.root, "--listen", "127.0.0.1:0", "--certs", self.certs, "--io", io,
                        "--threads", "1", "--buffers", "64", "--durability", "none", "--log", "warn")
                    address = store.address()
                    with Client(address, self.context) as client:
                        self.assertEqual(client.put("f", bytes(size)), 0)
                        self.assertEqual(len(client.get("f")), size)
                    before = store.rss_bytes()
                    clients = [Client(address, self.context) for _ in range(self.COUNT)]
                    for number, client in enumerate(clients):
                        self.assertEqual(client.help(), "bye change get help put summary")
                        # A third is idle, a third does not read its file, a third does not send all of its own.
                        if number % 3 == 1:
                            client.socket.sendall(b"\x21f")
                        elif number % 3 == 2:
                            client.socket.sendall(b"\x01g" + struct.pack(">I", size) + bytes(10_000))
                    seen = []
                    harness.eventually("quiet", lambda store=store, seen=seen: self.is_quiet(store, seen))
                    taken = store.rss_bytes() - before
                    self.assertLess(taken, self.POOL_BYTES + self.COUNT * self.EACH_BYTES)
                    for client in clients:
                        client.socket.close()
                    store.end()


if __name__ == "__main__":
    unittest.main()
