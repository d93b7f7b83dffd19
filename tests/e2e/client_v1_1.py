"""A client of protocol v1.1, from the specification alone.

The request's header is that of v1.0, with two differences: the version says "v1.1", and the upper
half of the operation's field is the length of an options block between header and body. Options
are lines `key=value`. The connection stays open, and requests may follow each other without
waiting; the answers come in their order.

    answer    version      4 bytes   "v1.1"
              status       4 bytes   0, or the number of an error
              checksum    16 bytes   of the body, of the kind that the request chose
              size         8 bytes   bytes of body that follow
              retry after  4 bytes   milliseconds; set with BUSY only
              time         4 bytes   microseconds that the conversion took
              body         the result, or one line that says what is wrong, and a hint below it
"""

import hashlib
import struct
from typing import NamedTuple

from client_v1 import ServerError, connect, read_exact, request_header

STATUS = 0
ANSWER = struct.Struct(">4s I 16s Q I I")

#: Options have at most this many bytes.
OPTIONS_BYTES_MAX = 4096

CODES = {
    1: "BAD_VERSION", 2: "UNAUTHORIZED", 3: "BAD_OPERATION", 4: "TOO_LARGE",
    5: "CHECKSUM_MISMATCH", 6: "UNKNOWN_TYPE", 7: "WRONG_TYPE", 8: "MALFORMED_INPUT",
    9: "LIMIT_EXCEEDED", 10: "DEADLINE_EXCEEDED", 11: "BUSY", 12: "NO_WORKER",
    13: "WORKER_FAILED", 14: "BAD_OPTION", 15: "TIMEOUT", 16: "SHUTTING_DOWN", 17: "NO_TEXT",
}


class Answer(NamedTuple):
    """An answer whose checksum is verified."""

    status: int
    body: bytes
    retry_after_ms: int
    convert_us: int

    @property
    def code(self):
        """`OK`, or the name of the error."""
        return "OK" if self.status == 0 else CODES.get(self.status, f"code {self.status}")


def options_block(options):
    """The block for a dictionary of options."""
    block = "".join(f"{key}={value}\n" for key, value in options.items()).encode()
    if len(block) > OPTIONS_BYTES_MAX:
        raise ValueError(f"{len(block)} bytes of options, over the limit of {OPTIONS_BYTES_MAX}")
    return block


def request(body, operation, token, options=None, checksum=None, size=None):
    """A whole request: header, options and body."""
    options = dict(options or {})
    block = options_block(options)
    if checksum is None and options.get("checksum") == "none":
        checksum = bytes(16)
    header = request_header(
        body, operation | len(block) << 16, token, version=b"v1.1", checksum=checksum, size=size)
    return header + block + body


class Connection:
    """A connection for any number of requests; leave it by `with` or `close`."""

    def __init__(self, address, context, token):
        self.token = token
        self.stream = connect(address, context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection."""
        self.stream.close()

    def send(self, operation, body, **options):
        """Sends a request without waiting for its answer. `_` in a key stands for `-`."""
        options = {key.replace("_", "-"): value for key, value in options.items()}
        self.stream.sendall(request(body, operation, self.token, options))

    def receive(self, checksum="md5"):
        """The next answer, verified by the kind of checksum that its request chose."""
        head = read_exact(self.stream, ANSWER.size)
        version, status, digest, size, retry_after_ms, convert_us = ANSWER.unpack(head)
        if version != b"v1.1":
            raise ValueError(f"an answer in version {version!r}")
        body = read_exact(self.stream, size)
        expected = {"md5": hashlib.md5(body).digest(), "none": bytes(16)}[checksum]
        if digest != expected:
            raise ValueError(f"the checksum of the answer is {digest.hex()}, not {expected.hex()}")
        return Answer(status, body, retry_after_ms, convert_us)

    def convert(self, operation, body, **options):
        """Sends a request and returns its result. Raises `ServerError` where there is none."""
        self.send(operation, body, **options)
        answer = self.receive(options.get("checksum", "md5"))
        if answer.status:
            raise ServerError(answer.code, answer.body.decode("utf-8", "replace"))
        return answer.body


def convert(address, context, token, operation, body, **options):
    """One request over a connection of its own."""
    with Connection(address, context, token) as connection:
        return connection.convert(operation, body, **options)
