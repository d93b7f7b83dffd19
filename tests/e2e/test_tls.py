"""TLS as others see it: versions, certificates, and records of every shape."""

import shutil
import socket
import ssl
import subprocess
import unittest

import client_v1
import client_v1_1
import forger
import harness
import samples

RECORD_PLAIN_MAX = 16_384


def s_client(address, *args, sent=b""):
    """What `openssl s_client` says about a server, and the server to what is `sent`."""
    host, port = address
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", *map(str, args)], input=sent,
        capture_output=True, timeout=harness.PATIENCE_S)
    return (done.stdout + done.stderr).decode(errors="replace")


@unittest.skipUnless(shutil.which("openssl"), "openssl is missing: `apt-get install openssl`")
class Openssl(harness.Case):
    """The command that an operator tries first."""

    def test_a_master_speaks_1_2_and_1_3_and_nothing_older(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            trust = ("-CAfile", self.certs / "ca.pem", "-verify_return_error")
            for flag, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
                with self.subTest(io=io, version=name):
                    said = s_client(address, flag, *trust)
                    self.assertRegex(said, rf"New, {name}, Cipher is (?!\(NONE\))")
                    self.assertIn("Verify return code: 0 (ok)", said)
            with self.subTest(io=io, version="TLSv1.1"):
                said = s_client(address, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", *trust)
                self.assertIn("Cipher is (NONE)", said)
                self.assertRegex(said, "alert (protocol version|handshake failure)")

    def test_a_worker_speaks_1_3_only(self):
        worker = self.start_worker()
        own = ("-cert", self.certs / "client.pem", "-key", self.certs / "client.key",
               "-CAfile", self.certs / "ca.pem")
        self.assertRegex(s_client(worker.address(), "-tls1_3", *own), "New, TLSv1.3, Cipher is T")
        said = s_client(worker.address(), "-tls1_2", *own)
        self.assertIn("Cipher is (NONE)", said)
        self.assertIn("alert protocol version", said)


    def test_a_renegotiation_freezes_nobody(self):
        # It is refused by an alert that waits to be sent; to wait for that is to wait for oneself.
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io)
                host, port = address
                peer = subprocess.Popen(
                    ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                try:
                    while b"Verify return code" not in peer.stdout.readline():
                        pass
                    peer.stdin.write(b"R\n")
                    peer.stdin.flush()
                    while b"RENEGOTIATING" not in peer.stdout.readline():
                        pass
                    for _ in range(3):
                        result = self.convert_v1(address, client_v1.TO_PNG, samples.JPG)
                        samples.check_picture(result, "png")
                finally:
                    peer.kill()
                    peer.communicate()


class Certificates(harness.Case):
    """Who is let in by a worker, and who is believed to be one."""

    def request(self, address, certificate):
        """A whole request of v1.0 to a worker; returns its result."""
        context = client_v1.tls_context(self.certs / "ca.pem", certificate)
        return client_v1.convert(address, context, "", client_v1.TO_PNG, samples.JPG)

    def test_a_worker_asks_for_a_certificate_of_its_ca(self):
        foreign = self.make_certs("foreign")
        for io in harness.DRIVERS:
            worker = self.start_worker("--io", io)
            own = (self.certs / "client.pem", self.certs / "client.key")
            samples.check_picture(self.request(worker.address(), own), "png")
            for name, certificate in (
                    ("none", None),
                    ("of another CA", (foreign / "client.pem", foreign / "client.key"))):
                with self.subTest(io=io, certificate=name):
                    with self.assertRaises((OSError, client_v1.CutAnswer)) as caught:
                        self.request(worker.address(), certificate)
                    # The alert comes behind the client's own handshake, and may find it writing.
                    self.assertRegex(
                        repr(caught.exception), "(?i)certificate[ _]required|unknown[ _]ca"
                        "|bad[ _]certificate|decrypt[ _]error|ConnectionReset|BrokenPipe")
            worker.await_log('code="OK"')
            self.assertEqual(worker.log().count('code="OK"'), 1, "one of three was let in")

    def test_a_client_does_not_believe_a_server_of_another_ca(self):
        foreign = self.make_certs("foreign")
        _, _, address = self.start_tiers()
        with self.assertRaises(ssl.SSLCertVerificationError):
            client_v1.connect(address, client_v1.tls_context(foreign / "ca.pem"))


class Cuts(harness.Case):
    """A body that is cut is no body, however it is cut."""

    def send_half(self, address, size=100_000):
        """A connection on which half of a text has been sent."""
        stream = client_v1.connect(address, self.context)
        self.addCleanup(stream.close)
        body = b"word " * (size // 5)
        header = client_v1.request_header(body, client_v1.TEXT_TO_PDF, harness.TOKEN)
        stream.sendall(header + body[:size // 2])
        return stream

    def check_no_result(self, stream):
        """Whatever comes, it is no result."""
        try:
            answer = client_v1.read_answer(stream)
        except (OSError, client_v1.CutAnswer):
            return
        self.assertIsNotNone(client_v1.parse_error(answer), "a result for half a body")

    def test_an_end_in_a_body_has_no_result(self):
        for io in harness.DRIVERS:
            worker, _, address = self.start_tiers(io)
            with self.subTest(io=io, end="FIN without close_notify"):
                stream = self.send_half(address)
                socket.socket.shutdown(stream, socket.SHUT_WR)
                self.check_no_result(stream)
            with self.subTest(io=io, end="close_notify"):
                stream = self.send_half(address)
                try:
                    stream.unwrap()
                except OSError:
                    pass
                stream.close()
            harness.eventually(
                "both requests are over", lambda: b"in_flight=0" in
                self.convert_v1_1(address, client_v1_1.STATUS, b""))
            self.assertNotIn('code="OK"', worker.log())

    def test_a_whole_body_and_an_end_without_close_notify_is_answered(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with self.subTest(io=io), client_v1.connect(address, self.context) as stream:
                stream.sendall(client_v1.request_header(
                    samples.JPG, client_v1.TO_PNG, harness.TOKEN) + samples.JPG)
                socket.socket.shutdown(stream, socket.SHUT_WR)
                samples.check_picture(client_v1.read_answer(stream), "png")


class Records(harness.Case):
    """Records as no ordinary client makes them."""

    def request(self):
        """A whole request of v1.0."""
        return client_v1.request_header(
            samples.JPG, client_v1.TO_PNG, harness.TOKEN) + samples.JPG

    def test_records_of_one_byte(self):
        for io in harness.DRIVERS:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                _, _, address = self.start_tiers(io)
                context = client_v1.tls_context(self.certs / "ca.pem")
                context.minimum_version = context.maximum_version = version
                with self.subTest(io=io, version=version.name):
                    with client_v1.connect(address, context) as stream:
                        for byte in self.request():
                            stream.sendall(bytes([byte]))
                        samples.check_picture(client_v1.read_answer(stream), "png")

    def test_segments_of_one_byte(self):
        # A TLS record that arrives byte by byte, handshake included.
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with self.subTest(io=io):
                with forger.Forger(address, self.certs / "ca.pem", self.dir) as client:
                    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for byte in client.record(self.request()):
                        client.send(bytes([byte]))
                    samples.check_picture(client_v1.read_answer(client), "png")

    def test_empty_records_change_nothing(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with self.subTest(io=io):
                with forger.Forger(address, self.certs / "ca.pem", self.dir) as client:
                    wire = self.request()
                    for start, end in ((0, 3), (3, 94), (94, 95), (95, len(wire))):
                        client.send(client.record(b""), client.record(b""),
                                    client.record(wire[start:end]), client.record(b""))
                    samples.check_picture(client_v1.read_answer(client), "png")

    def test_a_record_of_the_largest_size(self):
        body = samples.PICTURES["png"] + bytes(RECORD_PLAIN_MAX)
        wire = client_v1.request_header(body, client_v1.TO_JPG, harness.TOKEN) + body
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with self.subTest(io=io):
                with forger.Forger(address, self.certs / "ca.pem", self.dir) as client:
                    client.send(client.record(wire[:RECORD_PLAIN_MAX]),
                                client.record(wire[RECORD_PLAIN_MAX:]))
                    samples.check_picture(client_v1.read_answer(client), "jpg")

    def test_records_that_no_one_may_send_end_the_connection_with_an_alert(self):
        for io in harness.DRIVERS:
            worker, _, address = self.start_tiers(io)
            for name, make in (
                    ("one byte over the largest size", self.oversize),
                    ("a length beyond any record", self.overlong),
                    ("a changed tag", self.changed),
                    ("a kind that does not exist", self.unknown_kind),
                    ("an empty record that is not sealed", self.unsealed)):
                # Before a request, in its header, and in its body.
                for sent in (0, 50, 100):
                    with self.subTest(io=io, record=name, sent=sent):
                        self.check_alert(address, sent, make)
            self.assertNotIn('code="OK"', worker.log())
            samples.check_picture(self.convert_v1(address, client_v1.TO_PNG, samples.JPG), "png")

    def check_alert(self, address, sent, make):
        """Sends a part of a request and a bad record; an alert must be what comes."""
        with forger.Forger(address, self.certs / "ca.pem", self.dir) as client:
            start = [client.record(self.request()[:sent])] if sent else []
            client.send(*start, *make(client))
            with self.assertRaises((ssl.SSLError, client_v1.CutAnswer)) as caught:
                client_v1.read_answer(client)
            self.assertRegex(repr(caught.exception), "(?i)alert")

    def oversize(self, client):
        yield client.record(bytes(RECORD_PLAIN_MAX + 1))

    def overlong(self, client):
        # Its length alone is wrong; sending no more keeps a reset from overtaking the alert.
        yield b"\x17\x03\x03\xff\xff" + bytes(100)

    def changed(self, client):
        record = bytearray(client.record(self.request()[100:]))
        record[-1] ^= 1
        yield bytes(record)

    def unknown_kind(self, client):
        yield client.record(b"?", kind=99)

    def unsealed(self, client):
        yield b"\x17\x03\x03\x00\x00"


if __name__ == "__main__":
    unittest.main()
