"""Stand-ins for the other side of v1.0, from the specification alone.

A v1.0 master trusts its worker's CA, shows no certificate, and opens one connection a request. A
v1.0 worker asks for no certificate, answers one request, and closes. Both are as plain as the
protocol allows: whole bodies in memory, one thread a connection.
"""

import hashlib
import socket
import ssl
import threading

import client_v1
from client_v1 import HEADER, LENGTH, PATIENCE_S, read_exact

MAGICS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"%PDF-": "pdf"}


class StandIn:
    """A TLS server on a free port of 127.0.0.1; `handle` serves one connection."""

    def __init__(self, certs):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certs / "server.pem", certs / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.served = 0
        self.errors = []
        self.closed = False
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True
        # Closing alone does not wake a thread that is in accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE_S)

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                if self.closed:
                    return
                raise
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, plain):
        plain.settimeout(PATIENCE_S)
        try:
            with self.context.wrap_socket(
                    plain, server_side=True, suppress_ragged_eofs=False) as stream:
                self.handle(stream)
                self.served += 1
                end_in_order(stream)
        except (OSError, client_v1.CutAnswer) as error:
            self.errors.append(repr(error))

    def handle(self, stream):
        """Serves one connection."""
        raise NotImplementedError


def end_in_order(stream):
    """Sends close_notify. Whether the client sends its own before it closes is the client's."""
    try:
        stream.unwrap()
    except OSError:
        pass


class MasterV1(StandIn):
    """Passes every request to a worker as it is; the worker makes all the checks."""

    def __init__(self, certs, worker_address, worker_ca):
        self.worker_address = worker_address
        self.worker_context = client_v1.tls_context(worker_ca)
        super().__init__(certs)

    def handle(self, stream):
        header = read_exact(stream, HEADER.size)
        size = HEADER.unpack(header)[4]
        body = read_exact(stream, size)
        with client_v1.connect(self.worker_address, self.worker_context) as worker:
            worker.sendall(header)
            worker.sendall(body)
            answer = client_v1.read_answer(worker)
        stream.sendall(LENGTH.pack(len(answer)))
        stream.sendall(answer)


class WorkerV1(StandIn):
    """Checks in the order of the specification. What it "converts" tells what it was sent."""

    def __init__(self, certs, token):
        self.token = token.encode()
        self.names = []
        super().__init__(certs)

    def handle(self, stream):
        first = stream.recv(1)
        if not first:
            return  # A master looks whether this worker is there.
        header = HEADER.unpack(first + read_exact(stream, HEADER.size - 1))
        answer = self.answer(stream, *header)
        stream.sendall(LENGTH.pack(len(answer)) + answer)

    def answer(self, stream, version, token, checksum, name, size, operation):
        """The bytes of the answer; every failure has its text."""
        if version != b"v1.0":
            return b"ERROR: BAD_VERSION: this worker speaks v1.0"
        if token.strip(b"\0") != self.token:
            return b"ERROR: UNAUTHORIZED: wrong token"
        if not 1 <= operation <= 5:
            return b"ERROR: BAD_OPERATION: no such operation"
        body = read_exact(stream, size)
        if hashlib.md5(body).digest() != checksum:
            return b"ERROR: CHECKSUM_MISMATCH: the body is not what was sent"
        self.names.append(name.rstrip(b"\0").decode("utf-8", "replace"))
        kind = next((kind for magic, kind in MAGICS.items() if body.startswith(magic)), "text")
        if kind == "text" and operation != client_v1.TEXT_TO_PDF:
            return b"ERROR: WRONG_TYPE: text becomes PDF only"
        return b"%%PDF-made of %d bytes of %s by operation %d" % (size, kind.encode(), operation)
