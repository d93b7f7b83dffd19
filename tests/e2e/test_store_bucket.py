"""The file store over a bucket: the protocol, two stores over one set of files, and a bucket that fails."""

import hashlib
import os
import random
import re
import threading
import unittest

import bucket
import harness
from client_store import NOT_FOUND, REFUSED, Client

#: A file of several parts, the last of them short.
LARGE = 20 * 1024 * 1024 + 12_345


def content(size, seed=1):
    """Bytes that no other seed has."""
    return random.Random(seed).randbytes(size)


@unittest.skipUnless(bucket.has_server(), "needs moto: pip install 'moto[s3,server]'")
class Bucket(harness.Case):
    """Starts stores over one bucket, that of the test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.s3 = bucket.Server()
        cls.addClassCleanup(cls.s3.end)

    def setUp(self):
        super().setUp()
        for name, value in bucket.CREDENTIALS.items():
            os.environ[name] = value
        self.prefix = f"{self.id().rpartition('.')[2]}/in here"

    def start_store(self, *args, url=None):
        """A store without TLS over the test's prefix."""
        return self.start(
            "store", "--backend", f"s3://{bucket.BUCKET}/{self.prefix}", "--s3-endpoint",
            url or self.s3.url, "--listen", "127.0.0.1:0", "--plain", *args)

    def start_proxied(self, *args):
        """A store whose bucket fails by a rule."""
        proxy = bucket.Proxy(self.s3.port)
        self.addCleanup(proxy.end)
        return self.start_store("--s3-timeout", "4s", *args, url=proxy.url), proxy

    def names(self):
        """Names of the objects under the test's prefix."""
        start = self.prefix + "/"
        return [key[len(start):] for key in self.s3.keys() if key.startswith(start)]

    def scrub(self):
        """What `store scrub` says, and its exit code."""
        done = harness.run(
            "store", "scrub", "--backend", f"s3://{bucket.BUCKET}/{self.prefix}",
            "--s3-endpoint", self.s3.url, check=False)
        return done.stdout.decode(), done.returncode


class Protocol(Bucket):
    """What a client sees is what it sees of a directory."""

    def test_a_client_of_the_hand_out(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                store = self.start_store("--io", io)
                with Client(store.address(), name_end=b"\0") as client:
                    self.assertEqual(client.put("n.txt", b"4.5\n1\n\n2.375\n"), 0)
                    self.assertEqual(client.get("n.txt"), b"4.5\n1\n\n2.375\n")
                    self.assertEqual(
                        client.summary("n.txt"), b"Max: 4.5\nMin: 1.0\nAvg: 2.625\n")
                    self.assertEqual(client.put("other", b"x"), 0)
                    self.assertEqual(client.change("n.txt", "other"), REFUSED)
                    self.assertEqual(client.change("n.txt", "m.txt"), 0)
                    self.assertEqual(client.get("n.txt"), NOT_FOUND)
                    self.assertEqual(client.change("n.txt", "o.txt"), NOT_FOUND)
                    self.assertEqual(client.summary("other"), REFUSED)
                    self.assertEqual(client.summary("missing"), NOT_FOUND)
                    self.assertEqual(client.put("../x", b"x"), REFUSED)
                    self.assertEqual(client.help(), "bye change get help put summary")
                    client.bye()
                self.assertEqual(self.names(), ["m.txt", "other"])
                store.end()
                self.prefix += "/again"

    def test_files_of_every_size_come_back_whole_and_are_plain_objects(self):
        store = self.start_store()
        with Client(store.address()) as client:
            for size in (0, 1, 64_511, 64_513, 65_537, 1 << 20, 8 << 20, (8 << 20) + 1, LARGE):
                data = content(size, size)
                self.assertEqual(client.put("f", data), 0, size)
                self.assertTrue(client.get("f") == data, size)
                self.assertTrue(self.s3.read(f"{self.prefix}/f") == data, size)
        self.assertEqual(self.names(), ["f"])
        self.assertEqual(self.s3.uploads(), [])
        self.assertEqual(self.scrub(), ("1 good, 0 without a checksum, 0 bad\n", 0))

    def test_names_are_keys_byte_by_byte(self):
        store = self.start_store()
        names = ["a b", "naïve", "x%2Fy", "50%", "*?", "+&=#", "~", "\"<>'", "x\\y", ".hidden"]
        with Client(store.address()) as client:
            for name in names:
                self.assertEqual(client.put(name, name.encode()), 0, name)
                self.assertEqual(client.get(name), name.encode(), name)
                self.assertEqual(self.s3.read(f"{self.prefix}/{name}"), name.encode())
                self.assertEqual(client.change(name, "moved"), 0, name)
                self.assertEqual(client.change("moved", name), 0, name)
        self.assertEqual(sorted(self.names()), sorted(names))

    def test_a_large_file_keeps_its_checksum_when_its_name_changes(self):
        store = self.start_store()
        data = content(LARGE)
        with Client(store.address()) as client:
            self.assertEqual(client.put("a b+c", data), 0)
            self.assertEqual(client.put("taken", b"x"), 0)
            self.assertEqual(client.change("a b+c", "taken"), REFUSED)
            self.assertEqual(client.change("a b+c", "other"), 0)
            self.assertTrue(client.get("other") == data)
        self.assertEqual(self.names(), ["other", "taken"])
        self.assertEqual(self.s3.uploads(), [])
        self.assertEqual(self.scrub(), ("2 good, 0 without a checksum, 0 bad\n", 0))

    def test_a_flipped_byte_is_an_error(self):
        store = self.start_store()
        with Client(store.address()) as client:
            for name, size in (("small", 1000), ("large", LARGE)):
                self.assertEqual(client.put(name, content(size)), 0)
                self.s3.damage(f"{self.prefix}/{name}")
            self.assertEqual(client.get("small"), REFUSED)
            self.assertEqual(client.summary("small"), REFUSED)
        with Client(store.address()) as client:
            self.assertRaises((EOFError, ConnectionError), client.get, "large")
        store.await_log("the file is damaged")
        text, code = self.scrub()
        self.assertEqual(code, 1)
        self.assertIn("0 good, 0 without a checksum, 2 bad", text)

    def test_objects_of_others_are_served_and_named_by_scrub(self):
        self.s3.client.put_object(Bucket=bucket.BUCKET, Key=f"{self.prefix}/foreign", Body=b"1\n2\n")
        self.s3.client.put_object(Bucket=bucket.BUCKET, Key=f"{self.prefix}/deep/er", Body=b"x")
        with Client(self.start_store().address()) as client:
            self.assertEqual(client.get("foreign"), b"1\n2\n")
            self.assertEqual(client.change("foreign", "own"), 0)
            self.assertEqual(client.summary("own"), b"Max: 2.0\nMin: 1.0\nAvg: 1.5\n")
        self.assertEqual(
            self.scrub(), ("own: has no checksum\n0 good, 1 without a checksum, 0 bad\n", 0))

    def test_scrub_turns_pages(self):
        for number in range(1050):
            self.s3.client.put_object(
                Bucket=bucket.BUCKET, Key=f"{self.prefix}/file-{number:04}", Body=b"x",
                Metadata={"fxsrv-xxh3": "0" * 32} if number == 1049 else {})
        text, code = self.scrub()
        self.assertEqual(code, 1)
        self.assertIn("0 good, 1049 without a checksum, 1 bad", text)

    def test_limits_refuse(self):
        store = self.start_store("--max-file", "1000", "--max-files", "2", "--max-total", "1500")
        with Client(store.address()) as client:
            self.assertEqual(client.put("a", bytes(1001)), REFUSED)
            self.assertEqual(client.put("a", bytes(1000)), 0)
            self.assertEqual(client.put("b", bytes(501)), REFUSED)
            self.assertEqual(client.put("b", bytes(500)), 0)
            self.assertEqual(client.put("c", b""), REFUSED)
            self.assertEqual(client.put("b", b""), 0)
        store.end()
        store = self.start_store("--max-files", "2")
        with Client(store.address()) as client:
            self.assertEqual(client.put("c", b""), REFUSED, "what is there counts")


class Together(Bucket):
    """Two stores, one set of files."""

    def test_two_stores_share_a_bucket(self):
        addresses = [self.start_store().address() for _ in range(2)]
        with Client(addresses[0]) as one, Client(addresses[1]) as other:
            self.assertEqual(one.put("f", b"from one"), 0)
            self.assertEqual(other.get("f"), b"from one")
            self.assertEqual(other.put("f", b"from the other"), 0)
            self.assertEqual(one.get("f"), b"from the other")
            self.assertEqual(other.change("f", "g"), 0)
            self.assertEqual(one.get("f"), NOT_FOUND)
            self.assertEqual(one.get("g"), b"from the other")

    def test_one_of_two_changes_onto_a_name_is_done(self):
        proxy = bucket.Proxy(self.s3.port, one_at_a_time=True)
        self.addCleanup(proxy.end)
        addresses = [self.start_store(url=proxy.url).address() for _ in range(2)]
        for size in (100, LARGE):
            for turn in range(3):
                with Client(addresses[0]) as one, Client(addresses[1]) as other:
                    self.assertEqual(one.put("a", content(size, 1)), 0)
                    self.assertEqual(one.put("b", content(size, 2)), 0)
                    answers = {}
                    threads = [
                        threading.Thread(target=lambda client, name: answers.__setitem__(
                            name, client.change(name, f"onto-{size}-{turn}")), args=pair)
                        for pair in ((one, "a"), (other, "b"))]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                    self.assertEqual(sorted(answers.values()), [0, REFUSED])
                    lost, = (name for name, answer in answers.items() if answer == REFUSED)
                    won = {"a": 2, "b": 1}[lost]
                    self.assertTrue(one.get(f"onto-{size}-{turn}") == content(size, won))
                    self.assertTrue(other.get(lost) == content(size, {"a": 1, "b": 2}[lost]))

    def test_puts_at_once_tear_nothing(self):
        addresses = [self.start_store().address() for _ in range(2)]
        contents = [bytes([letter]) * 300_000 for letter in b"ab"]

        def repeat(address, data):
            with Client(address) as client:
                for _ in range(15):
                    self.assertEqual(client.put("f", data), 0)

        threads = [threading.Thread(target=repeat, args=pair) for pair in zip(addresses, contents)]
        for thread in threads:
            thread.start()
        with Client(addresses[0]) as client:
            while any(thread.is_alive() for thread in threads):
                got = client.get("f")
                self.assertTrue(got == NOT_FOUND or got in contents, "a torn file")
        self.assertIn(self.s3.read(f"{self.prefix}/f"), contents)


class Faults(Bucket):
    """A bucket that fails, and clients and stores that leave."""

    def test_a_client_that_leaves_early_stores_nothing(self):
        store = self.start_store()
        with Client(store.address()) as client:
            self.assertEqual(client.put("f", b"earlier"), 0)
        for size in (100_000, LARGE):
            client = Client(store.address())
            client.socket.sendall(b"\x01f" + size.to_bytes(4, "big") + bytes(size - 1))
            client.socket.close()
        harness.eventually("the end of the uploads", lambda: not self.s3.uploads())
        self.assertEqual(self.names(), ["f"])
        with Client(store.address()) as client:
            self.assertEqual(client.get("f"), b"earlier")

    def test_errors_that_pass_are_not_noticed(self):
        store, proxy = self.start_proxied()
        address = store.address()
        for fault in (500, 503, "cut"):
            proxy.rule = lambda method, path, number, fault=fault: fault if number % 3 == 0 else None
            with Client(address) as client:
                for size in (1000, LARGE):
                    data = content(size)
                    self.assertEqual(client.put("f", data), 0, (fault, size))
                    self.assertTrue(client.get("f") == data, (fault, size))
                    self.assertEqual(client.change("f", "g"), 0, (fault, size))
                    self.assertEqual(client.change("g", "f"), 0, (fault, size))
        self.assertEqual(self.names(), ["f"])

    def test_errors_that_stay_are_answers(self):
        store, proxy = self.start_proxied()
        address = store.address()
        with Client(address) as client:
            self.assertEqual(client.put("f", b"1\n"), 0)
        for fault in (500, 403, "cut"):
            proxy.rule = lambda method, path, number, fault=fault: fault
            for name, answer in (
                    ("put", lambda client: client.put("f", b"new")),
                    ("large put", lambda client: client.put("f", content(LARGE))),
                    ("get", lambda client: client.get("f")),
                    ("change", lambda client: client.change("f", "g")),
                    ("summary", lambda client: client.summary("f"))):
                with self.subTest(fault=fault, name=name), Client(address, timeout=20) as client:
                    try:
                        self.assertEqual(answer(client), REFUSED)
                    except ConnectionError:
                        self.assertEqual(name, "large put", "an answer before the body's end")
        proxy.rule = lambda method, path, number: None
        with Client(address) as client:
            self.assertEqual(client.get("f"), b"1\n")
        store.await_log("the bucket failed")

    def test_a_bucket_that_stalls_is_an_answer_in_time(self):
        store, proxy = self.start_proxied()
        address = store.address()
        with Client(address) as client:
            self.assertEqual(client.put("f", b"1\n"), 0)
        proxy.rule = lambda method, path, number: "stall"
        for answer in (lambda client: client.put("f", b"new"), lambda client: client.get("f"),
                       lambda client: client.change("f", "g"), lambda client: client.summary("f")):
            with Client(address, timeout=20) as client:
                self.assertEqual(answer(client), REFUSED)
        proxy.rule = lambda method, path, number: None
        proxy.release.set()
        with Client(address) as client:
            self.assertEqual(client.get("f"), b"1\n")

    def test_a_part_that_fails_leaves_the_earlier_file(self):
        store, proxy = self.start_proxied()
        with Client(store.address()) as client:
            self.assertEqual(client.put("f", b"earlier"), 0)
        for broken in ("partNumber=2", "uploadId="):
            proxy.rule = lambda method, path, number, broken=broken: (
                500 if method in ("PUT", "POST") and broken in path else None)
            with Client(store.address()) as client:
                try:
                    self.assertEqual(client.put("f", content(LARGE)), REFUSED)
                except ConnectionError:
                    pass
        proxy.rule = lambda method, path, number: None
        harness.eventually("the end of the uploads", lambda: not self.s3.uploads())
        self.assertEqual(self.names(), ["f"])
        with Client(store.address()) as client:
            self.assertEqual(client.get("f"), b"earlier")

    def test_kill_9_leaves_old_or_new(self):
        contents = {content(size, seed) for seed in range(3) for size in (1000, LARGE)}
        choice = random.Random(5)
        for _ in range(6):
            store = self.start_store()
            address = store.address()

            def load(address=address):
                try:
                    with Client(address) as client:
                        while True:
                            client.put("f", choice.choice(sorted(contents)))
                            client.change("f", "g")
                            client.change("g", "f")
                except (OSError, EOFError):
                    pass
            threads = [threading.Thread(target=load) for _ in range(2)]
            for thread in threads:
                thread.start()
            threading.Event().wait(choice.uniform(0.05, 0.8))
            store.kill()
            for thread in threads:
                thread.join()
            for name in self.names():
                if not name.startswith(".fxsrv-"):
                    self.assertIn(self.s3.read(f"{self.prefix}/{name}"), contents)
        self.assertRegex(self.scrub()[0], r" 0 without a checksum, 0 bad")

    def test_what_is_wrong_at_the_start_is_said(self):
        for args, code, text in (
                (("--backend", "s3://missing/x", "--s3-endpoint", self.s3.url), 3, b"no such bucket"),
                (("--backend", "s3://files", "--s3-endpoint", "http://127.0.0.1:1",
                  "--s3-timeout", "2s"), 3, b"cannot use s3://files"),
                (("--backend", "files"), 2, b"s3://BUCKET/PREFIX"),
                (("--backend", "s3://files", "--root", "/tmp"), 2, b"--root"),
                ((), 2, b"--backend URL")):
            done = harness.run("store", "--plain", "--listen", "127.0.0.1:0", *args, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(text, done.stderr)

    def test_secrets_are_in_no_log_line(self):
        os.environ["AWS_SECRET_ACCESS_KEY"] = "very-secret-key"
        store, proxy = self.start_proxied("--log", "trace")
        proxy.rule = lambda method, path, number: 500 if number % 2 else None
        with Client(store.address()) as client:
            client.put("f", content(LARGE))
            client.change("f", "g")
        for secret in ("very-secret-key", "X-Amz-Signature", "Signature="):
            self.assertNotIn(secret, store.log())


class Memory(Bucket):
    """A file's size is not the store's."""

    def test_large_files_take_bounded_memory(self):
        store = self.start_store()
        data = content(150 << 20)
        digest = hashlib.sha256(data).digest()
        with Client(store.address(), timeout=120) as client:
            self.assertEqual(client.put("f", data), 0)
            self.assertEqual(hashlib.sha256(client.get("f")).digest(), digest)
        with open(f"/proc/{store.pid}/status", encoding="ascii") as status:
            peak_kib = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
        # Three parts of 8 MiB, and what the program and its libraries take.
        self.assertLess(peak_kib, 96 * 1024)


if __name__ == "__main__":
    unittest.main()
