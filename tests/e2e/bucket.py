"""A bucket for tests: a real S3 server in a process of its own, and a proxy that lets it fail."""

import contextlib
import http.client
import importlib.util
import os
import re
import shlex
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import harness

BUCKET = "files"

#: How Python's own servers log a request.
REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d{3}) ')
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
               "AWS_REGION": "us-east-1"}


#: Another server than moto: a command in which {port} and {dir} stand for where it listens and where it may keep things.
OTHER = os.environ.get("FXSRV_S3_SERVER")


def has_server():
    """Whether the S3 server can be started, and asked from here."""
    needed = ("boto3",) if OTHER else ("moto", "flask", "boto3")
    return all(importlib.util.find_spec(name) for name in needed)


def has_lasting_server():
    """Whether there is a server that knows its files after its end."""
    return all(importlib.util.find_spec(name) for name in ("localbucket", "boto3"))


def command(port, directory):
    """What starts the server."""
    if OTHER:
        return [part.format(port=port, dir=directory) for part in shlex.split(OTHER)]
    # The account's state is in memory, and ends with the process.
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def lasting_command(port, directory):
    """What starts a server whose buckets are directories: an object is linked to its name, which fails where the name is taken, and
    so is whole or not there whenever the server is killed."""
    return [sys.executable, "-m", "localbucket", "--port", str(port), directory]


class Server:
    """The server, with one empty bucket."""

    def __init__(self, command=command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = tempfile.TemporaryDirectory(prefix="fxsrv-e2e-")
        self.log = Path(self.directory.name) / ".log"
        self.command = command(self.port, self.directory.name)
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        import boto3
        self.client = boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test")
        self.client.create_bucket(Bucket=BUCKET)

    def start(self):
        """Starts it, with what it has kept."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=log,
                env={**os.environ, **CREDENTIALS})
        harness.eventually("the S3 server listens", self._listens)

    def requests(self):
        """The requests on its log so far: method, path and status."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            for found in map(REQUEST.search, log):
                if found:
                    yield found[1], found[2], int(found[3])

    def kill(self):
        """Ends it in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the S3 server ended with {self.process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def keys(self):
        """All keys, page by page."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def read(self, key):
        """An object's bytes, as another client of the bucket sees them."""
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def damage(self, key):
        """Another byte in the middle of an object, under the metadata that it has."""
        found = self.client.get_object(Bucket=BUCKET, Key=key)
        data = bytearray(found["Body"].read())
        data[len(data) // 2] ^= 1
        self.client.put_object(
            Bucket=BUCKET, Key=key, Body=bytes(data), Metadata=found["Metadata"])

    def uploads(self):
        """Uploads that were begun and neither completed nor given up."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [upload["Key"] for upload in found.get("Uploads", ())]

    def end(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


class Proxy:
    """HTTP between a store and the server. `rule(method, path, number)` says what becomes of a
    request, the `number`-th of them: None passes it on, an integer answers with that status, "cut"
    closes the connection in the middle of the request, and "stall" lets it wait for `release`.

    `one_at_a_time` makes each request atomic, as a bucket's are: the server looks for an object and
    stores another in two steps, between which a second request could do the same."""

    def __init__(self, port, one_at_a_time=False):
        self.port = port
        self.turn = threading.Lock() if one_at_a_time else contextlib.nullcontext()
        self.rule = lambda method, path, number: None
        self.count = 0
        self.release = threading.Event()
        self.lock = threading.Lock()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            """One connection, one request after the other."""

            def handle(self):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    while proxy.serve(self.rfile, self.wfile):
                        pass

        class Threads(socketserver.ThreadingTCPServer):
            """Ends without its connections."""

            daemon_threads = True
            allow_reuse_address = True

        self.server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, reader, writer):
        """Takes one request; `False` is the end of the connection."""
        line = reader.readline(65536)
        if not line:
            return False
        method, path, _ = line.decode().split(" ", 2)
        headers = http.client.parse_headers(reader)
        length = int(headers.get("Content-Length", 0))
        with self.lock:
            self.count += 1
            fate = self.rule(method, path, self.count)
        if fate == "cut":
            reader.read(length // 2)
            return False
        body = reader.read(length)
        if fate == "stall":
            self.release.wait(60)
            return False
        if fate is not None:
            text = b"<Error><Code>Injected</Code></Error>"
            writer.write(b"HTTP/1.1 %d Injected\r\nContent-Length: %d\r\n\r\n" % (fate, len(text)))
            writer.write(text)
            return True
        with self.turn:
            self._pass_on(method, path, headers, body, writer)
        return True

    def _pass_on(self, method, path, headers, body, writer):
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        # As it came: the host is part of the signature.
        upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        data = answer.read()
        head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        head += [f"{name}: {value}" for name, value in answer.getheaders()
                 if name.lower() not in ("transfer-encoding", "content-length", "connection")]
        size = answer.getheader("Content-Length") if method == "HEAD" else len(data)
        head.append(f"Content-Length: {size or 0}")
        writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + data)
        upstream.close()

    def end(self):
        """Ends it."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
