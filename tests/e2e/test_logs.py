"""A log tells what happened and nothing of what was in a file or a token, at every level."""

import base64
import unittest

import client_v1
import client_v1_1
import harness
import samples

#: Planted in bodies, results and tokens. None is a word that a log would say by itself.
BODY_MARK = "Quagmire7319Zephyr"
WRONG_TOKEN = "Xylophone4471.wrong.token.mark"


def forms(mark):
    """A text as it might show in a log: itself, and as dumps of bytes."""
    raw = mark.encode()
    yield mark
    yield raw.hex()
    yield raw.hex().upper()
    yield " ".join(f"{byte:02x}" for byte in raw)
    yield ", ".join(map(str, raw))
    yield base64.b64encode(raw).decode()[:-4]


class Logs(harness.Case):
    """Every kind of request at trace level, and the whole log searched."""

    def planted_requests(self, address):
        """Requests that work and that fail at every check, each with marks in it."""
        text = f"{BODY_MARK}\n".encode()
        png = samples.png() + text
        for convert in (self.convert_v1, self.convert_v1_1):
            pdf = convert(address, client_v1.TEXT_TO_PDF, text)
            samples.check_pdf(pdf)
            samples.check_text(convert(address, client_v1.PDF_TO_TEXT, pdf), BODY_MARK)
            samples.check_picture(convert(address, client_v1.TO_JPG, png), "jpg")
            for operation, body in (
                    (client_v1.TO_JPG, text), (client_v1.TO_PNG, samples.JPG[:-200] + text),
                    (client_v1.PDF_TO_TEXT, b"%PDF-1.4\n" + text),
                    (client_v1.TO_WEBP, bytes(range(128, 200)) + text), (9, text)):
                with self.assertRaises(client_v1.ServerError):
                    convert(address, operation, body)
        for send in (self.bad_token, self.bad_checksum, self.bad_version, self.cut_body):
            with client_v1.connect(address, self.context) as stream:
                send(stream, text)
        with client_v1_1.Connection(address, self.context, WRONG_TOKEN) as connection:
            connection.send(client_v1.TO_JPG, text)
            self.assertEqual(connection.receive().code, "UNAUTHORIZED")

    def bad_token(self, stream, text):
        stream.sendall(
            client_v1.request_header(text, client_v1.TEXT_TO_PDF, WRONG_TOKEN) + text)
        self.assertEqual(self.code(stream), "UNAUTHORIZED")

    def bad_checksum(self, stream, text):
        stream.sendall(client_v1.request_header(
            text, client_v1.TEXT_TO_PDF, harness.TOKEN, checksum=bytes(16)) + text)
        self.assertEqual(self.code(stream), "CHECKSUM_MISMATCH")

    def bad_version(self, stream, text):
        # A client that forgets the header: the first bytes of the body stand where it belongs.
        stream.sendall(text * 10)
        self.assertEqual(self.code(stream), "BAD_VERSION")

    def cut_body(self, stream, text):
        stream.sendall(client_v1.request_header(
            text, client_v1.TEXT_TO_PDF, harness.TOKEN, size=1000) + text)

    @staticmethod
    def code(stream):
        """The name of the error that is answered."""
        return client_v1.parse_error(client_v1.read_answer(stream)).code

    def test_neither_tokens_nor_bodies(self):
        for io in harness.DRIVERS:
            worker, master, address = self.start_tiers(
                io, ("--log", "trace"), ("--log", "trace"))
            self.planted_requests(address)
            for server in (worker, master):
                server.end()
                said = "\n".join(server.lines["stdout"]) + server.log()
                self.assertIn("TRACE" if "TRACE" in said else "DEBUG", said)
                for mark in (BODY_MARK, BODY_MARK[:9], harness.TOKEN, harness.TOKEN[:12],
                             WRONG_TOKEN, WRONG_TOKEN[:9]):
                    for form in forms(mark):
                        with self.subTest(io=io, server=server.name, form=form):
                            self.assertNotIn(form, said)

    def test_one_access_line_a_request_at_info(self):
        worker, master, address = self.start_tiers()
        for _ in range(5):
            self.convert_v1(address, client_v1.TO_PNG, samples.JPG)
        for server in (worker, master):
            server.end()
            lines = [line for line in server.log().splitlines() if " request " in line]
            self.assertEqual(len(lines), 5, server.log())
            for line in lines:
                self.assertIn('code="OK"', line)
                self.assertIn("bytes_in=335", line.replace(f"={len(samples.JPG)}", "=335"))
            self.assertLess(len(server.log().splitlines()), 12, server.log())


if __name__ == "__main__":
    unittest.main()
