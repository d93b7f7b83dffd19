"""A client of protocol v1.0, from the specification alone.

Everything that a client in another language needs is in this file: one TLS connection carries one
request and one answer, all numbers are big-endian, and nothing else is on the wire.

    request   version      4 bytes   "v1.0"
              token       32 bytes   padded with NULs on the right
              checksum    16 bytes   MD5 of the body
              filename    30 bytes   UTF-8, padded with NULs; informative only
              file size    8 bytes   bytes of body that follow
              operation    4 bytes   1 JPG, 2 PNG, 3 WEBP, 4 text to PDF, 5 PDF to text
              body         as many as the file size says
    answer    length       8 bytes   bytes that follow
              bytes        the result, or a text "ERROR: NAME: message"

After the answer the server sends close_notify and closes. An end without close_notify is a cut.

    python3 client_v1.py HOST:PORT CA.pem TOKEN_FILE OPERATION < file > result
"""

import hashlib
import socket
import ssl
import struct
import sys

TO_JPG, TO_PNG, TO_WEBP, TEXT_TO_PDF, PDF_TO_TEXT = 1, 2, 3, 4, 5

HEADER = struct.Struct(">4s 32s 16s 30s Q I")
LENGTH = struct.Struct(">Q")

#: Longest wait for a single read or write. No test waits for ever.
PATIENCE_S = 60


class ServerError(Exception):
    """The service refused, or could not convert: `code` is the stable name of the reason."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class CutAnswer(Exception):
    """The connection ended before the answer was whole."""


def request_header(body, operation, token, name="file", version=b"v1.0", checksum=None, size=None):
    """The 94 bytes before a body. `struct` pads and cuts the fields as the wire wants them."""
    if checksum is None:
        checksum = hashlib.md5(body).digest()
    if size is None:
        size = len(body)
    return HEADER.pack(version, token.encode(), checksum, name.encode(), size, operation)


def tls_context(ca, certificate=None):
    """TLS that trusts the service's own CA, and does not pass over a missing close_notify."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if certificate:
        context.load_cert_chain(*certificate)
    # From Python 3.10 on an end without close_notify would be taken for an orderly one.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def connect(address, context, patience_s=PATIENCE_S):
    """A TLS connection to `(host, port)`."""
    plain = socket.create_connection(address, timeout=patience_s)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(
            plain, server_hostname=address[0], suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def read_exact(stream, count):
    """Exactly `count` bytes, or `CutAnswer`."""
    parts, missing = [], count
    while missing:
        try:
            part = stream.recv(min(missing, 1 << 20))
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise CutAnswer(f"{missing} of {count} bytes are missing: {error!r}") from error
        if not part:
            raise CutAnswer(f"{missing} of {count} bytes are missing: the server closed")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def read_answer(stream):
    """The bytes of an answer, and with them the orderly end of the connection."""
    (length,) = LENGTH.unpack(read_exact(stream, LENGTH.size))
    answer = read_exact(stream, length)
    try:
        rest = stream.recv(1)
    except (ConnectionError, ssl.SSLEOFError) as error:
        raise CutAnswer(f"no close_notify after the answer: {error!r}") from error
    if rest:
        raise CutAnswer("more bytes than the answer's length says")
    return answer


def parse_error(answer):
    """The `ServerError` that an answer is, or `None`.

    v1.0 cannot tell an error from a text that starts like one; only PDF to text can have such a
    result, and a client of v1.0 has to live with it.
    """
    if not answer.startswith(b"ERROR: "):
        return None
    code, _, message = answer[len(b"ERROR: "):].decode("utf-8", "replace").partition(": ")
    return ServerError(code, message)


def convert(address, context, token, operation, body, name="file"):
    """Sends `body`, and returns the result. Raises `ServerError` where there is none."""
    with connect(address, context) as stream:
        stream.sendall(request_header(body, operation, token, name) + body)
        answer = read_answer(stream)
    error = parse_error(answer)
    if error:
        raise error
    return answer


def main():
    """Converts stdin to stdout."""
    address, ca, token_file, operation = sys.argv[1:]
    host, _, port = address.rpartition(":")
    with open(token_file, encoding="utf-8") as file:
        token = file.read().strip()
    body = sys.stdin.buffer.read()
    result = convert((host, int(port)), tls_context(ca), token, int(operation), body)
    sys.stdout.buffer.write(result)


if __name__ == "__main__":
    main()
