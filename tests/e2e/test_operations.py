"""All operations, on both versions and both drivers, through processes of master and worker."""

import unittest

import client_v1
import client_v1_1
import harness
import samples


class Operations(harness.Case):
    """What goes in as one format comes out as the other, right by decoding it."""

    def test_every_operation_on_v1_0(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            for name, operation, body, judge in samples.every_conversion():
                with self.subTest(io=io, conversion=name):
                    judge(self.convert_v1(address, operation, body))

    def test_every_operation_on_one_v1_1_connection(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
                for name, operation, body, judge in samples.every_conversion():
                    with self.subTest(io=io, conversion=name):
                        judge(connection.convert(operation, body))

    def test_pipelined_requests_are_answered_in_order(self):
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
                kinds = ("jpg", "png", "webp", "png", "jpg")
                for kind in kinds:
                    connection.send(samples.PICTURE_OPERATIONS[kind], samples.PICTURES["png"])
                for kind in kinds:
                    answer = connection.receive()
                    self.assertEqual(answer.code, "OK", answer.body)
                    self.assertGreater(answer.convert_us, 0)
                    samples.check_picture(answer.body, kind)

    def test_what_goes_into_a_pdf_comes_out_of_it(self):
        _, _, address = self.start_tiers()
        made = self.convert_v1(address, client_v1.TEXT_TO_PDF, samples.TEXT.encode())
        read = self.convert_v1(address, client_v1.PDF_TO_TEXT, made)
        samples.check_text(read, samples.TEXT)

    def test_a_picture_of_several_megabytes(self):
        # 1,500 x 1,000 points that no filter compresses: about 4.5 MB as PNG.
        noise = (value & 0xFF for value in samples.pseudo_random(1500 * 1000 * 3))
        body = samples.png(1500, 1000, lambda x, y: (next(noise), next(noise), next(noise)))
        self.assertGreater(len(body), 4_000_000)
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            for version, convert in (("v1.0", self.convert_v1), ("v1.1", self.convert_v1_1)):
                with self.subTest(io=io, version=version):
                    result = convert(address, client_v1.TO_JPG, body)
                    self.assertEqual(samples.picture_header(result), ("jpg", 1500, 1000))

    def test_a_small_request_behind_a_large_one(self):
        # Of a large body more than the first bytes are waited for; of what follows it they are not.
        noise = (value & 0xFF for value in samples.pseudo_random(600 * 500 * 3))
        large = samples.png(600, 500, lambda x, y: (next(noise), next(noise), next(noise)))
        self.assertGreater(len(large), 800_000)
        for io in harness.DRIVERS:
            _, _, address = self.start_tiers(io)
            with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
                for turn in range(4):
                    with self.subTest(io=io, turn=turn):
                        result = connection.convert(client_v1.TO_PNG, large)
                        self.assertGreater(len(result), 800_000)
                        samples.check_picture(
                            connection.convert(client_v1.TO_PNG, samples.JPG), "png")


class Options(harness.Case):
    """Options of v1.1, as far as they show on the wire."""

    def test_quality_changes_the_size(self):
        _, _, address = self.start_tiers()
        low, high = (
            self.convert_v1_1(address, client_v1.TO_JPG, samples.JPG, quality=quality)
            for quality in (5, 95))
        self.assertLess(len(low), len(high))

    def test_an_unknown_option_is_refused_by_name_and_the_connection_goes_on(self):
        _, _, address = self.start_tiers()
        with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
            connection.send(client_v1.TO_JPG, samples.PICTURES["png"], colour="blue")
            answer = connection.receive()
            self.assertEqual(answer.code, "BAD_OPTION")
            self.assertIn(b"colour", answer.body)
            samples.check_picture(connection.convert(client_v1.TO_JPG, samples.JPG), "jpg")

    def test_a_request_without_checksum_has_an_answer_without(self):
        _, _, address = self.start_tiers()
        result = self.convert_v1_1(
            address, client_v1.TO_PNG, samples.WEBP, checksum="none", name="a.webp", id="r-1")
        samples.check_picture(result, "png")

    def test_status(self):
        worker, _, address = self.start_tiers()
        status = self.convert_v1_1(address, client_v1_1.STATUS, b"").decode()
        self.assertIn("role=master\n", status)
        own = client_v1.tls_context(
            self.certs / "ca.pem", (self.certs / "client.pem", self.certs / "client.key"))
        status = client_v1_1.convert(worker.address(), own, "", client_v1_1.STATUS, b"").decode()
        self.assertIn("role=worker\n", status)

    def test_a_bad_token_in_v1_1_has_a_hint(self):
        _, _, address = self.start_tiers()
        with client_v1_1.Connection(address, self.context, "wrong") as connection:
            connection.send(client_v1.TO_JPG, samples.JPG)
            answer = connection.receive()
        self.assertEqual(answer.code, "UNAUTHORIZED")
        self.assertIn(b"\nhint: ", answer.body)


if __name__ == "__main__":
    unittest.main()
