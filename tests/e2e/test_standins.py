"""Either side can be swapped for another implementation of v1.0."""

import unittest

import client_v1
import client_v1_1
import harness
import samples
import standins


class BehindAForeignMaster(harness.Case):
    """`fxsrv worker --client-auth none` behind a v1.0 master without a client certificate."""

    def test_every_operation(self):
        for io in harness.DRIVERS:
            worker = self.start_worker("--io", io, "--client-auth", "none")
            with standins.MasterV1(
                    self.certs, worker.address(), self.certs / "ca.pem") as master:
                for name, operation, body, judge in samples.every_conversion():
                    with self.subTest(io=io, conversion=name):
                        judge(self.convert_v1(master.address, operation, body))

    def test_errors_pass_through(self):
        worker = self.start_worker("--client-auth", "none", "--token-file", self.token_file)
        with standins.MasterV1(self.certs, worker.address(), self.certs / "ca.pem") as master:
            for token, operation, body, code in (
                    ("wrong", client_v1.TO_JPG, samples.JPG, "UNAUTHORIZED"),
                    (harness.TOKEN, 6, samples.JPG, "BAD_OPERATION"),
                    (harness.TOKEN, client_v1.TO_JPG, b"text\n", "WRONG_TYPE"),
                    (harness.TOKEN, client_v1.TO_JPG, bytes(range(128, 256)), "UNKNOWN_TYPE")):
                with self.subTest(code=code), self.assertRaises(client_v1.ServerError) as caught:
                    client_v1.convert(master.address, self.context, token, operation, body)
                self.assertEqual(caught.exception.code, code)

    def test_an_open_worker_is_warned_of(self):
        worker = self.start_worker("--client-auth", "none")
        worker.address()
        worker.await_log("warning: anyone who can connect may have files converted")

    def test_tls_1_2_masters_are_let_in(self):
        worker = self.start_worker("--client-auth", "none")
        context = client_v1.tls_context(self.certs / "ca.pem")
        context.maximum_version = context.maximum_version.TLSv1_2
        result = client_v1.convert(
            worker.address(), context, "", client_v1.TO_PNG, samples.JPG)
        samples.check_picture(result, "png")


class InFrontOfAForeignWorker(harness.Case):
    """`fxsrv master --worker-wire v1.0` in front of a v1.0 worker."""

    def foreign(self):
        """A v1.0 worker with certificates of another CA."""
        self.foreign_certs = self.make_certs("foreign")
        worker = standins.WorkerV1(self.foreign_certs, harness.TOKEN)
        self.addCleanup(worker.__exit__)
        return worker

    def master(self, worker, *args):
        """A master in front of it."""
        return self.start_master(worker.address, "--worker-wire", "v1.0", *args)

    def test_v1_0_clients(self):
        worker = self.foreign()
        for io in harness.DRIVERS:
            for trust in (("--worker-ca", self.foreign_certs / "ca.pem"), ("--worker-insecure",)):
                master = self.master(worker, "--io", io, *trust)
                for size in (0, 1, 12, 16_384, 1_000_000):
                    with self.subTest(io=io, trust=trust[0], size=size):
                        result = self.convert_v1(
                            master.address(), client_v1.TEXT_TO_PDF, b"x" * size)
                        self.assertEqual(
                            result, b"%%PDF-made of %d bytes of text by operation 4" % size)
        self.assertEqual(worker.errors, [])

    def test_its_errors_pass_through(self):
        worker = self.foreign()
        master = self.master(worker, "--worker-insecure")
        for _ in range(10):
            with self.assertRaises(client_v1.ServerError) as caught:
                self.convert_v1(master.address(), client_v1.TO_JPG, b"text\n")
            self.assertEqual(str(caught.exception), "WRONG_TYPE: text becomes PDF only")

    def test_insecure_is_warned_of(self):
        master = self.master(self.foreign(), "--worker-insecure")
        master.address()
        master.await_log("warning: workers are not verified")

    def test_a_worker_of_an_unknown_ca_is_not_used(self):
        worker = self.foreign()
        master = self.master(worker, "--worker-ca", self.certs / "ca.pem")
        with self.assertRaises(client_v1.ServerError) as caught:
            self.convert_v1(master.address(), client_v1.TEXT_TO_PDF, b"x")
        self.assertEqual(caught.exception.code, "NO_WORKER")
        self.assertEqual(worker.names, [], "a body went to a worker that is not trusted")

    def test_v1_1_clients_are_told_to_speak_v1_0(self):
        master = self.master(self.foreign(), "--worker-insecure")
        with client_v1_1.Connection(master.address(), self.context, harness.TOKEN) as connection:
            connection.send(client_v1.TEXT_TO_PDF, b"x")
            answer = connection.receive()
        self.assertEqual(answer.code, "BAD_VERSION")

    def test_convert_falls_back_by_itself(self):
        worker = self.foreign()
        master = self.master(worker, "--worker-insecure")
        host, port = master.address()
        for name in ("a.txt", "b.txt"):
            (self.dir / name).write_text("some words\n")
        out = self.dir / "out"
        out.mkdir()
        harness.run(
            "convert", self.dir / "a.txt", self.dir / "b.txt", "--to", "pdf", "-o", out,
            "--server", f"{host}:{port}", "--ca", self.certs / "ca.pem",
            "--token-file", self.token_file)
        for name in ("a.pdf", "b.pdf"):
            self.assertEqual(
                (out / name).read_bytes(), b"%PDF-made of 11 bytes of text by operation 4")
        self.assertEqual(worker.names, ["a.txt", "b.txt"])


class CommandLine(harness.Case):
    """`fxsrv convert` as a client of the service; it is a stand-in for nobody."""

    def test_convert_over_the_tiers(self):
        _, _, (host, port) = self.start_tiers()
        (self.dir / "a.png").write_bytes(samples.PICTURES["png"])
        for wire in ((), ("--wire", "v1.0"), ("--wire", "v1.1")):
            target = self.dir / "b.jpg"
            target.unlink(missing_ok=True)
            harness.run(
                "convert", self.dir / "a.png", "--to", "jpg", "--server", f"{host}:{port}",
                "--ca", self.certs / "ca.pem", "--token-file", self.token_file, "-o", target,
                *wire)
            samples.check_picture(target.read_bytes(), "jpg")

    def test_convert_without_a_server(self):
        result = harness.run(
            "convert", "-", "--to", "webp", "-o", "-", input=samples.JPG, cwd=self.dir)
        samples.check_picture(result.stdout, "webp")

    def test_an_error_is_never_saved_as_a_result(self):
        _, _, (host, port) = self.start_tiers()
        (self.dir / "a.txt").write_text("text\n")
        for wire in ("v1.0", "v1.1"):
            done = harness.run(
                "convert", self.dir / "a.txt", "--to", "jpg", "--server", f"{host}:{port}",
                "--ca", self.certs / "ca.pem", "--token-file", self.token_file,
                "--wire", wire, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(b"WRONG_TYPE", done.stderr)
            self.assertFalse((self.dir / "a.jpg").exists())


if __name__ == "__main__":
    unittest.main()
