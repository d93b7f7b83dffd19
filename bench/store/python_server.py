"""A file store of the original's design, to compare with: one process, a thread for each client, pieces of 1 KB.

    python3 python_server.py ROOT CERTIFICATE KEY [--sync]

Speaks PUT, GET and HELP as the hand-out of the protocol describes them, over TLS. With --sync a PUT syncs its file and the
directory before it answers, each client for itself.
"""

import os
import socket
import ssl
import struct
import sys
import threading

PIECE_BYTES = 1024
HELP = b"bye change get help put summary"
PUT, GET, HELP_OP = 0, 1, 4


def receive(connection: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(min(PIECE_BYTES, size - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return data


class Server:
    def __init__(self, root: str, syncs: bool):
        self.root = root
        self.syncs = syncs
        self.directory = os.open(root, os.O_RDONLY)

    def serve(self, connection: ssl.SSLSocket) -> None:
        try:
            while first := connection.recv(1):
                self.answer(connection, first[0] >> 5, first[0] & 31)
        except (OSError, EOFError):
            pass
        finally:
            connection.close()

    def answer(self, connection: ssl.SSLSocket, op: int, length: int) -> None:
        name = receive(connection, length).decode()
        if op == PUT:
            (size,) = struct.unpack(">I", receive(connection, 4))
            self.put(connection, name, size)
        elif op == GET:
            self.get(connection, name)
        elif op == HELP_OP:
            connection.sendall(bytes([0xC0 | len(HELP)]) + HELP)
        else:
            connection.sendall(b"\x80")

    def put(self, connection: ssl.SSLSocket, name: str, size: int) -> None:
        own = f"{self.root}/.{threading.get_ident()}"
        with open(own, "wb") as file:
            while size > 0:
                piece = connection.recv(min(PIECE_BYTES, size))
                if not piece:
                    raise EOFError
                file.write(piece)
                size -= len(piece)
            if self.syncs:
                file.flush()
                os.fsync(file.fileno())
        os.rename(own, f"{self.root}/{name}")
        if self.syncs:
            os.fsync(self.directory)
        connection.sendall(b"\x00")

    def get(self, connection: ssl.SSLSocket, name: str) -> None:
        path = f"{self.root}/{name}"
        if not os.path.isfile(path):
            connection.sendall(b"\x60")
            return
        encoded = name.encode()
        size = struct.pack(">I", os.path.getsize(path))
        connection.sendall(bytes([GET << 5 | len(encoded)]) + encoded + size)
        with open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                connection.sendall(piece)


def main() -> None:
    root, certificate, key = sys.argv[1:4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(root, "--sync" in sys.argv[4:])
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve, args=(tls,), daemon=True).start()


if __name__ == "__main__":
    main()
