"""Plain clients: of the store's protocol, and of HTTP as far as nginx needs it."""

import itertools
import selectors
import socket
import ssl
import struct
import time

CONNECT_S = 20
HELP = b"\x80"
HELP_BYTES = 32

# Files are new: to replace one frees its place, which a disk that is mounted with `discard` must be told of.
NEW_NAMES = map("new-{}".format, itertools.count())


def context(ca: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def connect(address: tuple, tls: ssl.SSLContext) -> ssl.SSLSocket:
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            bare = socket.create_connection(address, timeout=CONNECT_S)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(bare, server_hostname="localhost")


def put_request(name: str, data: bytes) -> bytes:
    encoded = name.encode()
    return bytes([len(encoded)]) + encoded + struct.pack(">I", len(data)) + data


class StoreGet:
    """GET of a store."""

    def request(self, name: str) -> bytes:
        return bytes([1 << 5 | len(name)]) + name.encode()

    def answer_bytes(self, name: str, size: int) -> int:
        return 1 + len(name) + 4 + size


class HttpGet:
    """GET of HTTP. All answers of a size have as many bytes; the first one shows how many."""

    def __init__(self):
        self.head_bytes = {}

    def request(self, name: str) -> bytes:
        return f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def learn(self, connection: ssl.SSLSocket, name: str, size: int) -> None:
        connection.sendall(self.request(name))
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65536)
        if b" 200 " not in got[:16]:
            raise RuntimeError(f"nginx answers {got[:60]!r}")
        self.head_bytes[size] = got.index(b"\r\n\r\n") + 4
        left = self.head_bytes[size] + size - len(got)
        while left > 0:
            left -= len(connection.recv(65536))

    def answer_bytes(self, name: str, size: int) -> int:
        return self.head_bytes[size] + size


def read_away(connection: ssl.SSLSocket, size: int, block: bytearray) -> None:
    while size > 0:
        got = connection.recv_into(block, min(size, len(block)))
        if got == 0:
            raise EOFError(f"{size} bytes are missing")
        size -= got


def get_many(connections: list, protocol, names: list, size: int, count: int) -> None:
    """`count` GETs, one at a time on each connection, all connections at once."""
    block, asked = bytearray(256 * 1024), 0
    while asked < count:
        wave = []
        for connection in connections:
            name = names[asked % len(names)]
            connection.sendall(protocol.request(name))
            wave.append((connection, protocol.answer_bytes(name, size)))
            asked += 1
        for connection, expected in wave:
            read_away(connection, expected, block)


def get_pipelined(connection: ssl.SSLSocket, protocol, names: list, size: int, count: int, together: int) -> None:
    """`count` GETs on one connection, so many asked for in one send."""
    block = bytearray(256 * 1024)
    for start in range(0, count, together):
        batch = [names[number % len(names)] for number in range(start, start + together)]
        connection.sendall(b"".join(map(protocol.request, batch)))
        read_away(connection, sum(protocol.answer_bytes(name, size) for name in batch), block)


def put_many(connections: list, size: int, count: int) -> None:
    """`count` PUTs, one at a time on each connection; whoever has an answer asks again."""
    # A server may send session tickets at any time; with the first answer they have come.
    for connection in connections:
        connection.sendall(put_request("warm", b"x"))
        if connection.recv(1) != b"\0":
            raise RuntimeError("a PUT was refused")
    data = bytes(range(256)) * (size // 256 + 1)
    waiting = selectors.DefaultSelector()
    for connection in connections:
        waiting.register(connection, selectors.EVENT_READ)
    asked = done = 0
    for connection in connections:
        connection.sendall(put_request(next(NEW_NAMES), data[:size]))
        asked += 1
    while done < count:
        for key, _ in waiting.select():
            if key.fileobj.recv(1) != b"\0":
                raise RuntimeError("a PUT was refused")
            done += 1
            if asked < count:
                key.fileobj.sendall(put_request(next(NEW_NAMES), data[:size]))
                asked += 1
