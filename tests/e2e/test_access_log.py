"""The access log, and a view of what goes on."""

import json
import unittest

import client_v1
import client_v1_1
import harness
import samples


class AccessLog(harness.Case):
    """A line of JSON for each request."""

    def lines(self, path, count):
        """The lines, once there are so many."""
        def whole():
            text = path.read_text()
            return text.endswith("\n") and text.count("\n") >= count and text
        text = harness.eventually(f"{count} lines in {path.name}", whole)
        return [json.loads(line) for line in text.splitlines()]

    def test_each_request_has_its_line_at_both_tiers(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                tokens = self.dir / f"tokens-{io}"
                done = harness.run("token", "new", "--file", tokens, "--name", "scanner")
                token = done.stdout.decode().strip()
                logs = {role: self.dir / f"{role}-{io}.jsonl" for role in ("worker", "master")}
                worker = self.start_worker("--io", io, "--access-log", logs["worker"])
                host, port = worker.address()
                master = self.start(
                    "master", "--listen", "127.0.0.1:0", "--certs", self.certs, "--token-file",
                    tokens, "--worker", f"{host}:{port}", "--io", io, "--access-log", logs["master"])
                address = master.address()
                with client_v1_1.Connection(address, self.context, token) as connection:
                    connection.convert(client_v1.TO_PNG, samples.JPG, id="my-request")
                    connection.send(client_v1.TO_PNG, b"no picture")
                    self.assertEqual(connection.receive().code, "WRONG_TYPE")
                    connection.send(99, b"")
                    self.assertEqual(connection.receive().code, "BAD_OPERATION")
                ok, wrong, refused = self.lines(logs["master"], 3)
                self.assertEqual(
                    [ok[key] for key in ("code", "token", "id", "operation", "version", "bytes_in")],
                    ["OK", "scanner", "my-request", "PNG", "v1.1", len(samples.JPG)])
                self.assertEqual(ok["worker"], f"{host}:{port}")
                self.assertGreater(ok["bytes_out"], 0)
                self.assertLessEqual(ok["convert_us"], ok["total_us"])
                self.assertEqual((wrong["code"], refused["code"]), ("WRONG_TYPE", "BAD_OPERATION"))
                self.assertIsNone(refused["token"])
                here, _ = self.lines(logs["worker"], 2)[:2]
                self.assertEqual((here["code"], here["id"]), ("OK", "my-request"))
                parts = [here[key] for key in ("receive_us", "queue_us", "convert_us", "send_us")]
                self.assertLessEqual(sum(parts), here["total_us"])
                self.assertEqual(logs["master"].stat().st_mode & 0o777, 0o640)
                for path in logs.values():
                    text = path.read_text()
                    self.assertNotIn(token, text)
                # What is moved away is opened anew.
                for server, path in ((worker, logs["worker"]), (master, logs["master"])):
                    path.rename(path.with_suffix(".old"))
                    server.signal(1)
                    server.await_log("reloaded")
                client_v1_1.convert(address, self.context, token, client_v1.TO_PNG, samples.JPG)
                for path in logs.values():
                    self.assertEqual(self.lines(path, 1)[0]["code"], "OK")

    def test_a_log_that_cannot_be_written_is_said_at_the_start(self):
        done = harness.run(
            "worker", "--certs", self.certs, "--listen", "127.0.0.1:0", "--access-log",
            "/nonexistent/log", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"cannot write /nonexistent/log", done.stderr)


class Top(harness.Case):
    """`fxsrv top --once`."""

    def test_it_shows_the_server_and_its_fleet(self):
        worker, _, (host, port) = self.start_tiers("epoll")
        self.convert_v1((host, port), client_v1.TO_PNG, samples.JPG)
        done = harness.run(
            "top", "--once", "--interval", "100ms", "--server", f"{host}:{port}", "--ca",
            self.certs / "ca.pem", "--token-file", self.token_file)
        text = done.stdout.decode()
        self.assertRegex(text, r"(?m)^master \S+, up for \d+ s, (ready|not ready|unready|degraded)")
        self.assertRegex(text, r"(?m)^requests [0-9.]+/s, \d+ in flight")
        self.assertIn("{}:{}".format(*worker.address()), text)
        self.assertNotIn("\x1b", text)


if __name__ == "__main__":
    unittest.main()
