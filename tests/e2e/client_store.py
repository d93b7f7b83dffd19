"""A client of the file store over a plain socket, written from the rules of its hand-out: one `recv`
for the head and the first data, and a name whose length may count a NUL."""

import socket
import struct

PUT, GET, CHANGE, SUMMARY, HELP = range(5)
NOT_FOUND, UNKNOWN, REFUSED = 3, 4, 5


class Client:
    """One connection."""

    def __init__(self, address, context=None, name_end=b"", timeout=30):
        self.name_end = name_end
        self.socket = socket.create_connection(address, timeout=timeout)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def _head(self, op, name):
        name = name.encode() + self.name_end
        return bytes([op << 5 | len(name)]) + name

    def _code(self):
        return self.exactly(1)[0] >> 5

    def put(self, name, data):
        """Stores data, and returns the answer's upper three bits: 0 is done."""
        self.socket.sendall(self._head(PUT, name) + struct.pack(">I", len(data)) + data)
        return self._code()

    def _file(self, op, name):
        self.socket.sendall(self._head(op, name))
        first = self.socket.recv(2048)
        if first[0] >> 5 != (1 if op == GET else 2):
            return first[0] >> 5
        length = first[0] & 31
        size, = struct.unpack(">I", first[1 + length:5 + length])
        data = first[5 + length:]
        return data + self.exactly(size - len(data))

    def get(self, name):
        """The file, or the upper three bits of a refusal."""
        return self._file(GET, name)

    def summary(self, name):
        """The text, or the upper three bits of a refusal."""
        return self._file(SUMMARY, name)

    def change(self, old, new):
        """Renames, and returns the answer's upper three bits: 0 is done."""
        name = new.encode() + self.name_end
        self.socket.sendall(self._head(CHANGE, old) + bytes([len(name)]) + name)
        return self._code()

    def help(self):
        """What the store knows, asked as in the earlier edition."""
        self.socket.sendall(b"\x60")
        return self.exactly(self.exactly(1)[0] & 31).decode()

    def exactly(self, size):
        """So many bytes, in however many pieces they come."""
        data = bytearray()
        while len(data) < size:
            more = self.socket.recv(min(size - len(data), 1 << 16))
            if not more:
                raise EOFError(f"{len(data)} of {size} bytes")
            data += more
        return bytes(data)

    def bye(self):
        """Takes leave as some clients do: a request, and no wait for its answer."""
        self.socket.sendall(b"\x80")
        self.socket.close()
