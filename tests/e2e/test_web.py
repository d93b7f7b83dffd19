"""The web gateway, as browsers, curl and Prometheus see it."""

import base64
import contextlib
import email
import hashlib
import http.client
import io as stdlib_io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest
import zipfile

import harness
import samples

MIB = 1 << 20

#: What the gateway may keep after a large upload. Its buffers are under 1 MiB a request; the rest is
#: what an allocator holds back.
MEMORY_TOLERANCE_BYTES = 16 * MIB


class Web(harness.Case):
    """Worker, master and gateway of the test's own."""

    def start_web(self, *args, io="uring", token=True, worker_args=(), wrapper=()):
        """All three; the gateway shows the token unless told otherwise."""
        self.worker, self.master, (host, port) = self.start_tiers(io=io, worker_args=worker_args)
        shown = ("--token-file", self.token_file) if token else ()
        self.web = self.start(
            "web", "--listen", "127.0.0.1:0", "--server", f"{host}:{port}", "--io", io,
            "--ca", self.certs / "ca.pem", *shown, *args, wrapper=wrapper)
        self.address = self.web.address()
        return self.web

    def ask(self, method, path, body=None, headers=(), address=None):
        """One request: status, headers and body of its answer."""
        connection = http.client.HTTPConnection(*(address or self.address), timeout=60)
        try:
            # A refusal may come, and the connection end, while the body is still on its way.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def problem(self, status, code, *request, **more):
        """Asks, and expects this refusal."""
        got, headers, body = self.ask(*request, **more)
        document = json.loads(body)
        self.assertEqual((got, document["code"]), (status, code), document)
        self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertEqual(headers["X-Request-Id"], document["request_id"])
        return headers, document

    def raw(self, head, body=b""):
        """A connection on which so much has been sent."""
        connection = socket.create_connection(self.address, timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        return connection

    def worker_status(self, key):
        """A number of the worker's status, which the master tells."""
        _, _, body = self.ask("GET", "/v1/status")
        workers = json.loads(body)["workers"]
        return workers[0].get(key) if workers else None


class Convert(Web):
    """Files in, files out."""

    def test_every_conversion_on_both_drivers(self):
        targets = {1: "jpg", 2: "png", 3: "webp", 4: "pdf", 5: "txt"}
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.start_web(io=io)
                for _, operation, body, judge in samples.every_conversion():
                    status, headers, result = self.ask(
                        "POST", f"/v1/convert?to={targets[operation]}", body)
                    self.assertEqual(status, 200, result[:200])
                    judge(result)
                    self.assertIn("convert;dur=", headers["Server-Timing"])

    def test_refusals_have_their_codes(self):
        self.start_web("--max-body", "1 MiB", "--max-uploads-per-address", "1")
        png = samples.png()
        self.problem(415, "WRONG_TYPE", "POST", "/v1/convert?to=pdf", png)
        self.problem(415, "UNKNOWN_TYPE", "POST", "/v1/convert?to=png", os.urandom(100))
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert?to=gif", png)
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert", png)
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert?to=png&quality=0", png)
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert?to=png&name=a%0Aquality=1", png)
        self.problem(413, "TOO_LARGE", "POST", "/v1/convert?to=png", bytes(MIB + 1))
        self.problem(411, "LENGTH_REQUIRED", "POST", "/v1/convert?to=png", iter([png]))
        self.problem(404, "NOT_FOUND", "GET", "/v1/nothing")
        self.problem(405, "METHOD_NOT_ALLOWED", "DELETE", "/v1/convert")
        self.problem(404, "NOT_FOUND", "GET", "/v1/store")
        headers, _ = self.problem(
            401, "UNAUTHORIZED", "POST", "/v1/convert?to=png", png, {"Authorization": "Bearer x"})
        self.assertEqual(headers["WWW-Authenticate"], "Bearer")
        held = self.raw(
            f"POST /v1/convert?to=png HTTP/1.1\nHost: localhost\nContent-Length: {len(png)}\n\n")
        headers, document = harness.eventually(
            "the first upload holds its place",
            lambda: self.refused("POST", "/v1/convert?to=png", png))
        self.assertEqual(document["code"], "TOO_MANY_UPLOADS")
        self.assertGreaterEqual(int(headers["Retry-After"]), 1)
        held.close()

    def refused(self, *request):
        status, headers, body = self.ask(*request)
        return (headers, json.loads(body)) if status == 429 else None

    def test_digests_are_checked_and_given(self):
        self.start_web()
        png = samples.png()
        sha256 = base64.b64encode(hashlib.sha256(png).digest()).decode()
        md5 = base64.b64encode(hashlib.md5(png).digest()).decode()
        status, headers, result = self.ask(
            "POST", "/v1/convert?to=jpg", png,
            {"Repr-Digest": f"sha-256=:{sha256}:, md5=:{md5}:"})
        self.assertEqual(status, 200, result[:200])
        own = base64.b64encode(hashlib.md5(result).digest()).decode()
        self.assertEqual(headers["Repr-Digest"], f"md5=:{own}:")
        wrong = base64.b64encode(bytes(32)).decode()
        self.problem(422, "CHECKSUM_MISMATCH", "POST", "/v1/convert?to=jpg", png,
                     {"Content-Digest": f"sha-256=:{wrong}:"})
        self.problem(422, "CHECKSUM_MISMATCH", "POST", "/v1/convert?to=jpg", png,
                     {"Repr-Digest": f"md5=:{wrong[:22]}==:"})
        connection = self.raw(
            "POST /v1/convert?to=jpg HTTP/1.1\nHost: localhost\nConnection: close\n"
            f"Want-Repr-Digest: sha-256=1\nTE: trailers\nContent-Length: {len(png)}\n\n", png)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        trailer = re.search(rb"(?i)repr-digest: sha-256=:([^:]+):", answer.split(b"\r\n\r\n", 1)[1])
        expected = base64.b64encode(hashlib.sha256(result).digest())
        self.assertEqual(trailer and trailer.group(1), expected)

    def test_a_browser_that_leaves_ends_its_request(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.start_web(io=io, worker_args=("--slots", "1"))
                half = self.raw(
                    "POST /v1/convert?to=png HTTP/1.1\nHost: localhost\n"
                    f"Content-Length: {64 * MIB}\n\n", bytes(4 * MIB))
                in_flight = lambda: json.loads(
                    self.ask("GET", "/v1/status")[2])["master"]["in_flight"]
                harness.eventually("the request is on its way", lambda: in_flight() == 1)
                half.close()
                harness.eventually("it is over", lambda: in_flight() == 0, seconds=5)
                status, _, result = self.ask("POST", "/v1/convert?to=jpg", samples.png())
                self.assertEqual(status, 200, result[:200])

    def test_tokens_of_clients_go_through(self):
        self.start_web(token=False)
        png = samples.png()
        self.assertTrue(json.loads(self.ask("GET", "/v1/info")[2])["token_required"])
        self.problem(401, "UNAUTHORIZED", "POST", "/v1/convert?to=jpg", png)
        self.problem(401, "UNAUTHORIZED", "GET", "/v1/status")
        bearer = {"Authorization": f"Bearer {harness.TOKEN}"}
        self.assertEqual(self.ask("POST", "/v1/convert?to=jpg", png, bearer)[0], 200)
        self.assertEqual(self.ask("GET", "/v1/status", None, bearer)[0], 200)
        self.assertNotIn(harness.TOKEN, self.web.log())

    def test_a_slow_upload_is_cut(self):
        self.start_web("--stall-timeout", "300ms")
        connection = self.raw(
            "POST /v1/convert?to=png HTTP/1.1\nHost: localhost\nContent-Length: 100\n\n", b"x")
        self.assertIn(b"408 Request Timeout", b"".join(iter(lambda: connection.recv(65536), b"")))


class Forms(Web):
    """Many files in one request."""

    FILES = (
        ("a.png", samples.png()), ("b/../a.jpg", samples.png()), ("cut.png", samples.png()[:40]),
        ("words.txt", b"words"), ("a.png", samples.png()))

    def form(self, files, boundary="x5x"):
        """Body and headers, as a browser makes them."""
        parts = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode() + body + b"\r\n"
            for name, body in files)
        return (parts + f"--{boundary}--\r\n".encode(),
                {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def check(self, results):
        """Those of FILES as JPG: the good ones decode, the others say why not."""
        names = [name for name, _ in results]
        self.assertEqual(names, ["a.jpg", "a (2).jpg", "cut.png.problem.json",
                                 "words.txt.problem.json", "a (3).jpg"])
        for index in (0, 1, 4):
            samples.check_picture(results[index][1], "jpg")
        codes = [json.loads(results[index][1])["code"] for index in (2, 3)]
        self.assertEqual(codes, ["MALFORMED_INPUT", "WRONG_TYPE"])

    def test_all_results_come_as_a_zip_or_as_parts(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.start_web(io=io)
                body, headers = self.form(self.FILES)
                status, told, answer = self.ask("POST", "/v1/convert?to=jpg", body, headers)
                self.assertEqual((status, told["Content-Type"]), (200, "application/zip"), answer)
                with zipfile.ZipFile(stdlib_io.BytesIO(answer)) as archive:
                    self.assertIsNone(archive.testzip())
                    self.check([(one.filename, archive.read(one)) for one in archive.infolist()])
                    year = archive.infolist()[0].date_time[0]
                self.assertGreaterEqual(year, 2025)
                status, told, answer = self.ask(
                    "POST", "/v1/convert?to=jpg", body, {**headers, "Accept": "multipart/mixed"})
                self.assertEqual(status, 200, answer)
                head = f"Content-Type: {told['Content-Type']}\r\n\r\n".encode()
                message = email.message_from_bytes(head + answer)
                parts = [(part.get_filename(), part.get_payload(decode=True))
                         for part in message.get_payload()]
                self.check(parts)
                self.assertEqual(message.get_payload(0).get_content_type(), "image/jpeg")

    def test_what_concerns_all_files_is_the_answer(self):
        self.start_web()
        body, headers = self.form(self.FILES)
        wrong = {**headers, "Authorization": "Bearer x"}
        self.problem(401, "UNAUTHORIZED", "POST", "/v1/convert?to=jpg", body, wrong)
        self.problem(400, "BAD_OPTION", "POST", "/v1/convert?to=gif", body, headers)
        self.problem(400, "BAD_REQUEST", "POST", "/v1/convert?to=jpg", b"no form", headers)
        self.problem(400, "BAD_REQUEST", "POST", "/v1/convert?to=jpg", body[:-20], headers)
        self.problem(400, "BAD_REQUEST", "POST", "/v1/convert?to=jpg", *self.form([]))
        field = b'--x5x\r\nContent-Disposition: form-data; name="to"\r\n\r\njpg\r\n--x5x--\r\n'
        self.problem(400, "BAD_REQUEST", "POST", "/v1/convert?to=jpg", field, headers)
        many = self.form([(f"{number}.txt", b"x") for number in range(101)])
        self.problem(413, "TOO_LARGE", "POST", "/v1/convert?to=pdf", *many)
        digest = base64.b64encode(bytes(32)).decode()
        self.problem(422, "CHECKSUM_MISMATCH", "POST", "/v1/convert?to=jpg", body,
                     {**headers, "Content-Digest": f"sha-256=:{digest}:"})
        connection = self.raw(
            "POST /v1/convert?to=jpg HTTP/1.1\nHost: localhost\nConnection: close\n"
            f"Content-Type: {headers['Content-Type']}\nContent-Length: {64 * MIB + 1}\n\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        self.assertIn(b" 413 ", answer)
        self.assertIn(b"TOO_LARGE", answer)
        # Memory that was set aside for those that were refused is there again.
        for _ in range(6):
            status, _, answer = self.ask("POST", "/v1/convert?to=jpg", *(body, headers))
            self.assertEqual(status, 200, answer[:300])

    def test_forms_of_many_clients_have_a_limit_together(self):
        self.start_web()
        head = ("POST /v1/convert?to=png HTTP/1.1\nHost: localhost\n"
                f"Content-Type: multipart/form-data; boundary=x5x\nContent-Length: {64 * MIB}\n\n")
        held = [self.raw(head, b"--x5x\r\n") for _ in range(4)]
        body, headers = self.form(self.FILES)
        busy = harness.eventually("there is no room", lambda: self.busy(body, headers))
        self.assertGreaterEqual(int(busy["Retry-After"]), 1)
        for connection in held:
            connection.close()
        harness.eventually("there is room again", lambda: not self.busy(body, headers))

    def busy(self, body, headers):
        status, told, answer = self.ask("POST", "/v1/convert?to=jpg", body, headers)
        return told if status == 503 and json.loads(answer)["code"] == "BUSY" else None


class Page(Web):
    """What browsers rely on."""

    def test_the_page_is_whole_and_asks_nobody_else(self):
        self.start_web()
        status, headers, page = self.ask("GET", "/")
        self.assertEqual(status, 200)
        policy = headers["Content-Security-Policy"]
        self.assertIn("default-src 'self'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(headers["Referrer-Policy"], "no-referrer")
        self.assertNotIn("Set-Cookie", headers)
        found = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.decode())
        self.assertTrue(found)
        for path in found:
            status, headers, body = self.ask("GET", path)
            self.assertEqual(status, 200, path)
            again = self.ask("GET", path, None, {"If-None-Match": headers["ETag"]})
            self.assertEqual((again[0], again[2]), (304, b""), path)

    def test_other_sites_and_other_names_are_refused(self):
        self.start_web("--name", "files.example")
        port = self.address[1]
        for host in ("evil.example", f"evil.example:{port}"):
            self.problem(421, "BAD_HOST", "GET", "/", None, {"Host": host})
        for host in ("files.example", "localhost", "127.0.0.1"):
            self.assertEqual(self.ask("GET", "/", None, {"Host": host})[0], 200)
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"},
                        {"Origin": "null"}):
            self.problem(403, "CROSS_SITE", "POST", "/v1/convert?to=png", b"", headers)
            self.problem(403, "CROSS_SITE", "GET", "/v1/status", None, headers)
        own = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}",
               "Sec-Fetch-Site": "same-origin"}
        self.assertEqual(self.ask("GET", "/v1/status", None, own)[0], 200)

    def test_https_by_a_certificate_directory(self):
        self.start_web("--tls", self.certs)
        connection = http.client.HTTPSConnection(
            "localhost", self.address[1], timeout=60, context=self.context)
        connection.request("POST", "/v1/convert?to=jpg", samples.png())
        answer = connection.getresponse()
        samples.check_picture(answer.read(), "jpg")
        connection.close()
        refused = harness.run(
            "web", "--listen", "0.0.0.0:0", "--ca", self.certs / "ca.pem", check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn(b"--tls DIR", refused.stderr)

    def test_operators_find_health_and_numbers(self):
        self.start_web()
        self.ask("POST", "/v1/convert?to=jpg", samples.png())
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)
        text = self.ask("GET", "/metrics")[2].decode()
        self.assertIn('fxsrv_requests_total{operation="convert",code="OK"} 1', text)
        worker = self.start_worker("--admin", "127.0.0.1:0")
        worker.address()
        told = harness.eventually("the admin address", lambda: re.search(
            r"admin on http://([\d.]+):(\d+)/metrics", worker.log()))
        admin = (told.group(1), int(told.group(2)))
        self.assertEqual(self.ask("GET", "/readyz", address=admin)[0], 200)
        for host, status in (("evil.example", 421), ("localhost", 200), (socket.gethostname(), 200)):
            got = self.ask("GET", "/metrics", None, {"Host": host}, address=admin)[0]
            self.assertEqual(got, status, host)
        self.assertIn("fxsrv_slots ", self.ask("GET", "/metrics", address=admin)[2].decode())

    def test_nobody_is_ready_without_a_worker(self):
        self.start_web()
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)
        certs = ("--certs", self.certs, "--token-file", self.token_file)
        lone = self.start("master", "--listen", "127.0.0.1:0", *certs, "--admin", "127.0.0.1:0",
                          "--worker", "127.0.0.1:1")
        lone.address()
        told = harness.eventually("the admin address", lambda: re.search(
            r"admin on http://([\d.]+):(\d+)/metrics", lone.log()))
        status, _, text = self.ask("GET", "/readyz", address=(told.group(1), int(told.group(2))))
        self.assertEqual((status, text), (503, b"no worker is ready\n"))
        self.worker.signal(signal.SIGINT)
        self.worker.wait()
        harness.eventually("the gateway is not ready", lambda: self.ask("GET", "/readyz")[0] == 503)
        _, document = self.problem(503, "NOT_READY", "GET", "/readyz")
        self.assertEqual(document["detail"], "no worker is ready")
        self.master.signal(signal.SIGINT)
        self.master.wait()
        self.assertEqual(self.ask("GET", "/readyz")[0], 503)
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)

    def test_status_is_told_every_second(self):
        self.start_web()
        connection = self.raw("GET /v1/status/events HTTP/1.1\nHost: localhost\n\n")
        received = b""
        while received.count(b"data: ") < 3:
            received += connection.recv(65536)
        events = [json.loads(line) for line in re.findall(rb"data: (.*)\n", received)[:2]]
        self.assertEqual(events[1]["master"]["role"], "master")
        self.assertEqual(len(events[1]["workers"]), 1)
        self.assertIsNotNone(events[1]["rates"]["requests_per_s"])


class Store(Web):
    """The store tab's API."""

    def test_put_list_get_rename_summary(self):
        root = self.dir / "files"
        root.mkdir()
        store = self.start("store", "--root", root, "--listen", "127.0.0.1:0", "--certs", self.certs)
        host, port = store.address()
        self.start_web("--store", f"{host}:{port}", "--store-ca", self.certs / "ca.pem",
                       "--store-root", root)
        self.assertEqual(json.loads(self.ask("GET", "/v1/info")[2])["store"],
                         {"available": True, "listable": True})
        numbers = b"1\n2.5\n4\n" * 50_000
        self.assertEqual(self.ask("PUT", "/v1/store/numbers", numbers)[0], 204)
        self.assertEqual(self.ask("GET", "/v1/store/numbers")[2], numbers)
        summary = json.loads(self.ask("GET", "/v1/store/numbers/summary")[2])
        self.assertEqual(summary, {"max": "4.0", "min": "1.0", "mean": "2.5"})
        to = json.dumps({"to": "renamed"})
        json_type = {"Content-Type": "application/json"}
        self.assertEqual(
            self.ask("POST", "/v1/store/numbers/rename", to, json_type)[0], 204)
        listed = json.loads(self.ask("GET", "/v1/store")[2])["files"]
        self.assertEqual([(one["name"], one["size"]) for one in listed],
                         [("renamed", len(numbers))])
        self.problem(404, "NOT_FOUND", "GET", "/v1/store/numbers")
        self.problem(400, "BAD_REQUEST", "GET", "/v1/store/" + "x" * 32)
        self.assertEqual(self.ask("PUT", "/v1/store/words", b"x\n")[0], 204)
        self.problem(409, "STORE_REFUSED", "GET", "/v1/store/words/summary")


class Streaming(Web):
    """Nothing is kept, in memory or on disk."""

    def test_memory_stays_flat_while_200_mb_pass(self):
        self.start_web()
        self.ask("POST", "/v1/convert?to=png", samples.png())
        before, highest = self.web.rss_bytes(), 0
        body = os.urandom(MIB)
        connection = self.raw(
            "POST /v1/convert?to=png HTTP/1.1\nHost: localhost\nConnection: close\n"
            f"Content-Length: {200 * MIB}\n\n")
        for _ in range(200):
            connection.sendall(body)
            highest = max(highest, self.web.rss_bytes())
        self.assertIn(b"UNKNOWN_TYPE", b"".join(iter(lambda: connection.recv(65536), b"")))
        self.assertLess(highest - before, MEMORY_TOLERANCE_BYTES)

    @unittest.skipUnless(shutil.which("strace"), "strace is missing")
    def test_nothing_is_written(self):
        self.start_web(io="epoll")
        self.ask("POST", "/v1/convert?to=jpg", samples.png())
        trace = self.dir / "trace"
        strace = subprocess.Popen(
            ["strace", "-f", "-o", str(trace), "-p", str(self.web.pid),
             "-e", "trace=%file,pwrite64,pwritev,ftruncate,memfd_create"],
            stderr=subprocess.PIPE)
        self.addCleanup(strace.stderr.close)
        self.assertIn(b"attached", strace.stderr.readline())
        before = self.web.io("write_bytes")
        for _ in range(5):
            self.assertEqual(self.ask("POST", "/v1/convert?to=jpg", samples.png())[0], 200)
        files = [target for target in self.web.fds().values() if target.startswith("/")]
        self.assertEqual([target for target in files if not target.startswith("/dev/")], [])
        strace.terminate()
        strace.wait(harness.PATIENCE_S)
        self.assertEqual(self.web.io("write_bytes"), before)
        writing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|pwrite|rename|unlink|mkdir|truncate|memfd")
        found = [line for line in trace.read_text().splitlines() if writing.search(line)]
        self.assertEqual(found, [])


class Examples(Web):
    """The commands of the documentation do what it says."""

    @unittest.skipUnless(shutil.which("curl") and shutil.which("openssl"), "curl or openssl is missing")
    def test_every_curl_command_of_the_api_page(self):
        self.start_web()
        (self.dir / "photo.jpg").write_bytes(
            self.ask("POST", "/v1/convert?to=jpg", samples.png())[2])
        (self.dir / "notes.txt").write_text("Grüße\n")
        text = (harness.ROOT / "docs" / "http-api.md").read_text()
        commands = "".join(re.findall(r"```sh\n(.*?)```", text, re.S))
        self.assertGreaterEqual(commands.count("curl "), 5)
        host, port = self.address
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=self.dir, capture_output=True, timeout=120,
            env=harness.clean_env(FXSRV=f"http://{host}:{port}"))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        samples.check_picture((self.dir / "photo.png").read_bytes(), "png")
        samples.check_picture((self.dir / "photo.webp").read_bytes(), "webp")
        self.assertTrue((self.dir / "notes.pdf").read_bytes().startswith(b"%PDF-"))


if __name__ == "__main__":
    unittest.main()
