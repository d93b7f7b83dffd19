"""A TLS 1.2 client whose records are made by hand: empty ones, too long ones, broken ones.

Python's ssl makes the handshake and reads; from then on this file seals what is sent, with the keys
that it derives from the key log. One cipher suite is enough for that, ChaCha20-Poly1305, which is
short to write down (RFC 8439, RFC 7905). Slow, and for tests alone.
"""

import hashlib
import hmac
import socket
import ssl
import struct

APPLICATION_DATA = 23
TLS_1_2 = b"\x03\x03"
SUITES = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"


class Forger:
    """A connection to `address` that sends records of any shape."""

    def __init__(self, address, ca, directory, patience_s=30):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES)
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        key_log = directory / f"keys-{id(self)}"
        context.keylog_filename = str(key_log)
        self.socket = socket.create_connection(address, timeout=patience_s)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=address[0])
        self.received = b""
        self._drive(self.session.do_handshake)
        _, client_random, secret = next(
            line.split() for line in key_log.read_text().splitlines()
            if line.startswith("CLIENT_RANDOM"))
        # The first record is the ServerHello: 5 bytes of record, 4 of message, 2 of version.
        server_random = self.received[11:43]
        block = prf(bytes.fromhex(secret), b"key expansion",
                    server_random + bytes.fromhex(client_random), 88)
        self.key, self.iv = block[:32], block[64:76]
        # The client's Finished had number 0.
        self.sequence = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _drive(self, step):
        """Runs `step` until it needs nothing more from the network."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                part = self.socket.recv(65536)
                self.received += part
                if part:
                    self.incoming.write(part)
                else:
                    self.incoming.write_eof()
            finally:
                self._flush()

    def _flush(self):
        if self.outgoing.pending:
            self.socket.sendall(self.outgoing.read())

    def record(self, plain, kind=APPLICATION_DATA):
        """The bytes of a record that carries `plain`, whatever its length."""
        number = struct.pack(">Q", self.sequence)
        nonce = bytes(a ^ b for a, b in zip(self.iv, bytes(4) + number))
        aad = number + bytes([kind]) + TLS_1_2 + struct.pack(">H", len(plain))
        sealed = seal(self.key, nonce, plain, aad)
        self.sequence += 1
        return bytes([kind]) + TLS_1_2 + struct.pack(">H", len(sealed)) + sealed

    def send(self, *records):
        """Sends bytes as they are."""
        self.socket.sendall(b"".join(records))

    def recv(self, count):
        """Plaintext from the server, as a socket's `recv`."""
        return self._drive(lambda: self.session.read(count))


def prf(secret, label, seed, count):
    """The pseudo random function of TLS 1.2 with SHA-256 (RFC 5246, section 5)."""
    def mac(data):
        return hmac.new(secret, data, hashlib.sha256).digest()
    out, chain = b"", label + seed
    while len(out) < count:
        chain = mac(chain)
        out += mac(chain + label + seed)
    return out[:count]


def seal(key, nonce, plain, aad):
    """AEAD_CHACHA20_POLY1305 of RFC 8439, section 2.8."""
    sealed = b"".join(
        bytes(a ^ b for a, b in zip(plain[at:at + 64], chacha20(key, at // 64 + 1, nonce)))
        for at in range(0, len(plain), 64))
    tagged = (pad(aad) + pad(sealed) + struct.pack("<QQ", len(aad), len(sealed)))
    return sealed + poly1305(chacha20(key, 0, nonce)[:32], tagged)


def pad(data):
    """`data`, filled with zeros to a multiple of 16."""
    return data + bytes(-len(data) % 16)


def chacha20(key, counter, nonce):
    """One block of 64 bytes (RFC 8439, section 2.3)."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key),
             counter, *struct.unpack("<3I", nonce)]
    state = start[:]

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, start)))


def poly1305(key, data):
    """The tag of RFC 8439, section 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        block = int.from_bytes(data[at:at + 16] + b"\1", "little")
        total = (total + block) * r % ((1 << 130) - 5)
    total += int.from_bytes(key[16:], "little")
    return (total & ((1 << 128) - 1)).to_bytes(16, "little")
