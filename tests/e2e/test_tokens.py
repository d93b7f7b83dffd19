"""Tokens: lists of hashes, what each may do, and addresses that guess."""

import hashlib
import signal
import socket
import threading
import unittest

import client_v1
import client_v1_1
import harness
import samples
from client_v1 import ServerError

#: As docs/tokens.md says.
WRONG_TOKENS_MAX = 120


class Tokens(harness.Case):
    """A master with a list of tokens."""

    def setUp(self):
        super().setUp()
        self.list = self.dir / "tokens"

    def new(self, name, *args):
        """Puts a token on the list, and returns it."""
        done = harness.run("token", "new", "--file", self.list, "--name", name, *args)
        token = done.stdout.decode().strip()
        self.assertEqual(len(token), 32)
        return token

    def start_listed(self, io, *args):
        """A worker, and a master with the list."""
        worker = self.start_worker("--io", io)
        host, port = worker.address()
        master = self.start(
            "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--token-file", self.list,
            "--worker", f"{host}:{port}", "--io", io, *args)
        return master, master.address()

    def convert(self, address, token, operation=client_v1.TO_PNG, body=samples.JPG, **options):
        return client_v1_1.convert(address, self.context, token, operation, body, **options)

    def code(self, address, token, operation=client_v1.TO_PNG, body=samples.JPG):
        """The code of one request, and its message."""
        try:
            self.convert(address, token, operation, body)
        except ServerError as error:
            return error.code, str(error)
        return "OK", ""

    def reload(self, server):
        before = server.log().count("reloaded")
        server.signal(signal.SIGHUP)
        server.await_log("reloaded", before + 1)

    def status(self, address, token):
        """The numbers of a server's status."""
        with client_v1_1.Connection(address, self.context, token) as connection:
            connection.send(client_v1_1.STATUS, b"")
            lines = connection.receive().body.decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_each_token_is_held_to_what_it_is_for(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.list.unlink(missing_ok=True)
                everything = self.new("everything")
                pictures = self.new("pictures", "--operations", "png,jpg", "--max-body", "1000")
                past = self.new("past", "--expires", "2001-02-03")
                master, address = self.start_listed(io)
                samples.check_picture(self.convert(address, everything), "png")
                samples.check_picture(self.convert(address, pictures), "png")
                code, message = self.code(address, pictures, client_v1.TEXT_TO_PDF, b"hello")
                self.assertEqual(code, "BAD_OPERATION")
                self.assertIn("the token is not for PDF, but for jpg, png", message)
                code, message = self.code(address, pictures, client_v1.TO_JPG, bytes(1001))
                self.assertEqual(code, "TOO_LARGE")
                self.assertIn("1 over the limit of the token of 1000", message)
                code, message = self.code(address, past)
                self.assertEqual(code, "UNAUTHORIZED")
                self.assertIn("expired at 2001-02-03T00:00:00Z", message)
                self.assertEqual(self.code(address, "x" * 32)[0], "UNAUTHORIZED")
                # The same order of checks, and the same texts, in v1.0.
                with self.assertRaises(ServerError) as raised:
                    client_v1.convert(
                        address, self.context, pictures, client_v1.TEXT_TO_PDF, b"hello")
                self.assertEqual(raised.exception.code, "BAD_OPERATION")
                master.await_log('token="pictures"')
                self.assertNotIn(pictures, master.log())

    def test_a_list_keeps_hashes_and_is_changed_while_it_serves(self):
        first = self.new("first")
        text = self.list.read_text()
        self.assertNotIn(first, text)
        self.assertIn(hashlib.sha256(first.encode()).hexdigest(), text)
        self.assertEqual(self.list.stat().st_mode & 0o777, 0o600)
        master, address = self.start_listed("epoll")
        second = self.new("second", "--rate", "100/m")
        self.assertEqual(self.code(address, second)[0], "UNAUTHORIZED")
        self.reload(master)
        self.assertEqual(self.code(address, second)[0], "OK")
        shown = harness.run("token", "list", "--file", self.list).stdout.decode()
        self.assertRegex(shown, r"(?m)^first +- +all")
        self.assertRegex(shown, r"(?m)^second +- +all +- +100/m")
        harness.run("token", "revoke", "--file", self.list, "first")
        self.reload(master)
        self.assertEqual(self.code(address, first)[0], "UNAUTHORIZED")
        self.assertEqual(self.code(address, second)[0], "OK")
        # A list that is wrong is not taken, and what was read before stays.
        self.list.write_text(self.list.read_text() + "uses = 1\n")
        master.signal(signal.SIGHUP)
        master.await_log("not reloaded")
        self.assertEqual(self.code(address, second)[0], "OK")
        failed = harness.run("token", "list", "--file", self.list, check=False)
        self.assertEqual(failed.returncode, 2)
        self.assertIn(b"unknown field `uses`", failed.stderr)
        failed = harness.run(
            "token", "new", "--file", self.token_file, "--name", "more", check=False)
        self.assertEqual(failed.returncode, 2)
        self.assertIn(b"holds one token", failed.stderr)

    def test_rate_and_places_are_answered_with_when_to_come_back(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.list.unlink(missing_ok=True)
                slow = self.new("slow", "--rate", "2/h")
                single = self.new("single", "--concurrency", "1")
                master, address = self.start_listed(io)
                with client_v1_1.Connection(address, self.context, slow) as connection:
                    for expected in ("OK", "OK", "BUSY"):
                        connection.send(client_v1.TO_PNG, samples.JPG)
                        answer = connection.receive()
                        self.assertEqual(answer.code, expected)
                    self.assertIn(b"the token is for 2/h requests", answer.body)
                    self.assertGreater(answer.retry_after_ms, 600_000)
                # A reload does not start a new hour.
                self.reload(master)
                self.assertEqual(self.code(address, slow)[0], "BUSY")
                # One body on its way is the one place; it is held until its end.
                with client_v1.connect(address, self.context) as held:
                    held.sendall(client_v1.request_header(
                        samples.JPG, client_v1.TO_PNG, single) + samples.JPG[:10])
                    harness.eventually(
                        "the place is taken", lambda: self.code(address, single)[0] == "BUSY")
                    code, message = self.code(address, single)
                    self.assertIn("1 conversions on their way, its most", message)
                    held.sendall(samples.JPG[10:])
                    samples.check_picture(client_v1.read_answer(held), "png")
                harness.eventually(
                    "the place is free", lambda: self.code(address, single)[0] == "OK")

    def test_an_address_that_guesses_is_refused_whatever_it_shows(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.list.unlink(missing_ok=True)
                right = self.new("right")
                master, address = self.start_listed(io)
                # The budget fills up by one a second meanwhile, so that a slow machine tries more.
                refused = harness.eventually(
                    "the address is refused",
                    lambda: self.guesses(address, 60) and self.limited(address, right))
                self.assertIn("too many wrong tokens came from this address", refused)
                self.assertEqual(
                    self.code_from("127.0.0.9", address, right), "OK", "another address")
                status = self.status_from("127.0.0.9", address, right)
                self.assertGreaterEqual(int(status["auth_failures"]), WRONG_TOKENS_MAX)
                self.assertGreaterEqual(int(status["auth_limited"]), 1)

    def guesses(self, address, count):
        """Shows wrong tokens, four on each connection, side by side."""
        def four():
            with client_v1_1.Connection(address, self.context, "wrong." * 5) as connection:
                for _ in range(4):
                    connection.send(client_v1.TO_PNG, b"")
                    self.assertEqual(connection.receive().code, "UNAUTHORIZED")
        threads = [threading.Thread(target=four) for _ in range(count // 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return True

    def limited(self, address, right):
        code, message = self.code(address, right)
        return message if code == "UNAUTHORIZED" else None

    def from_address(self, source, address, token):
        """A connection from another address of this machine."""
        raw = socket.create_connection(
            address, timeout=harness.PATIENCE_S, source_address=(source, 0))
        connection = client_v1_1.Connection.__new__(client_v1_1.Connection)
        connection.token = token
        connection.stream = self.context.wrap_socket(raw, server_hostname="localhost")
        return connection

    def code_from(self, source, address, token):
        with self.from_address(source, address, token) as connection:
            connection.send(client_v1.TO_PNG, samples.JPG)
            return connection.receive().code

    def status_from(self, source, address, token):
        with self.from_address(source, address, token) as connection:
            connection.send(client_v1_1.STATUS, b"")
            lines = connection.receive().body.decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_guesses_are_not_limited_where_the_operator_says_so(self):
        right = self.new("right")
        _, address = self.start_listed("epoll", "--limit-guesses", "false")
        self.guesses(address, 2 * WRONG_TOKENS_MAX)
        self.assertEqual(self.code(address, right)[0], "OK")

    def test_a_store_asks_for_a_token_that_is_for_it(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.list.unlink(missing_ok=True)
                files = self.new("files", "--operations", "store")
                pictures = self.new("pictures", "--operations", "jpg")
                root = self.dir / f"files-{io}"
                root.mkdir()
                store = self.start(
                    "store", "--root", root, "--plain", "--listen", "127.0.0.1:0", "--auth",
                    self.list, "--io", io)
                self.assertEqual(self.auth(store.address(), files), b"\x00")
                self.assertEqual(self.auth(store.address(), pictures), b"\x60")
                self.assertEqual(self.auth(store.address(), "x" * 32), b"\x60")
                store.await_log("the token is not for a store")

    @staticmethod
    def auth(address, token):
        """A store's answer to a token."""
        with socket.create_connection(address, timeout=harness.PATIENCE_S) as connection:
            connection.sendall(f"AUTH {token}\n".encode())
            return connection.recv(1)


if __name__ == "__main__":
    unittest.main()
