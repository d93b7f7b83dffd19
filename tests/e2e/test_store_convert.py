"""`fxsrv convert` from a file store and to one."""

import harness


TEXT = "Grüße, мир\n" * 50


class Convert(harness.Case):
    """A store, and conversions with it."""

    def setUp(self):
        super().setUp()
        self.root = self.dir / "files"
        self.root.mkdir()

    def start_store(self, *args):
        """A store with TLS and a token, and the flags that name it."""
        store = self.start(
            "store", "--root", self.root, "--listen", "127.0.0.1:0", "--certs", self.certs,
            "--auth", self.token_file, *args)
        host, port = store.address()
        return store, ("--store", f"{host}:{port}", "--store-ca", self.certs / "ca.pem",
                       "--store-token-file", self.token_file)

    def convert(self, *args, **options):
        """Runs one command in the test's directory."""
        return harness.run("convert", *args, cwd=self.dir, **options)

    def names(self):
        """What the store has."""
        return sorted(path.name for path in self.root.iterdir())

    def test_from_the_store_to_the_store(self):
        _, flags = self.start_store()
        (self.root / "report.txt").write_text(TEXT)
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                self.convert("store:report.txt", "store:report.pdf", *flags, "--io", io)
                self.assertTrue((self.root / "report.pdf").read_bytes().startswith(b"%PDF-"))
                self.convert("store:report.pdf", "store:back.txt", *flags, "--io", io)
                self.assertIn("Grüße, мир", (self.root / "back.txt").read_text())
        self.assertEqual(self.names(), ["back.txt", "report.pdf", "report.txt"])
        self.assertEqual(
            [path.name for path in self.dir.iterdir() if path.suffix in (".pdf", ".txt")], [])

    def test_between_files_and_the_store(self):
        _, flags = self.start_store()
        (self.dir / "a.txt").write_text(TEXT)
        self.convert("a.txt", "store:a.pdf", *flags)
        self.convert("store:a.pdf", "b.txt", *flags)
        self.assertIn("Grüße, мир", (self.dir / "b.txt").read_text())
        done = self.convert("store:a.pdf", "b.txt", *flags, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"b.txt exists already", done.stderr)
        self.convert("store:a.pdf", "b.txt", "--force", *flags)
        self.convert("-", "--to", "pdf", "-o", "store:piped.pdf", *flags, input=TEXT.encode())
        done = self.convert("store:piped.pdf", "--to", "txt", "-o", "-", *flags)
        self.assertIn("Grüße, мир", done.stdout.decode())
        self.convert("a.txt", "b.txt", "--to", "pdf", "-o", "store:", *flags)
        self.convert("store:b.pdf", "--to", "txt", *flags)
        self.assertEqual(self.names(), ["a.pdf", "b.pdf", "b.txt", "piped.pdf"])

    def test_by_a_server(self):
        _, flags = self.start_store()
        _, _, (host, port) = self.start_tiers()
        (self.root / "report.txt").write_text(TEXT)
        self.convert(
            "store:report.txt", "store:report.pdf", "--to", "pdf", *flags, "--server",
            f"{host}:{port}", "--ca", self.certs / "ca.pem", "--token-file", self.token_file)
        self.assertEqual(self.names(), ["report.pdf", "report.txt"])

    def test_an_error_names_its_side_and_stores_nothing(self):
        store, flags = self.start_store("--max-file", "600")
        (self.root / "a.txt").write_text(TEXT)
        (self.root / "not.pdf").write_bytes(b"\0\1\2\3" * 100)
        for args, code, texts in (
                (("store:missing.txt", "store:x.pdf"), 1, (b"store:missing.txt", b"no file of that name")),
                (("store:not.pdf", "store:x.txt"), 1, (b"UNKNOWN_TYPE",)),
                (("store:a.txt", "store:x.pdf"), 1, (b"store:x.pdf", b"refuses")),
                (("store:a.txt", "store:" + "x" * 40 + ".pdf"), 1, (b"store:", b"over the limit of 31")),
                (("store:a.txt", "x"), 2, (b"nothing says what the files become",))):
            done = self.convert(*args[:2], *flags, *args[2:], check=False)
            for text in texts:
                self.assertIn(text, done.stderr)
            self.assertEqual(done.returncode, code, done.stderr)
        done = self.convert(
            "store:a.txt", "store:x.pdf", "--store", "127.0.0.1:1", *flags[2:], check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"127.0.0.1:1", done.stderr)
        self.assertEqual(self.names(), ["a.txt", "not.pdf"])
        # A stored file that is damaged never becomes a result.
        store.end()
        store, flags = self.start_store()
        host, port = store.address()
        (self.dir / "large.txt").write_text("0123456789 " * 40_000)
        harness.run("put", "large.txt", "--server", f"{host}:{port}", "--ca",
                    self.certs / "ca.pem", "--token-file", self.token_file, cwd=self.dir)
        with open(self.root / "large.txt", "r+b") as file:
            file.write(b"x")
        done = self.convert("store:large.txt", "store:x.pdf", *flags, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"while it was read", done.stderr)
        self.assertNotIn("x.pdf", self.names())

    def test_a_certificate_opens_a_store_that_asks_for_one(self):
        store, _ = self.start_store("--client-auth", "required")
        host, port = store.address()
        flags = ("--server", f"{host}:{port}", "--ca", self.certs / "ca.pem", "--token-file",
                 self.token_file)
        self.assertNotEqual(harness.run("help", *flags, check=False).returncode, 0)
        shown = ("--cert", self.certs / "client.pem", "--key", self.certs / "client.key")
        self.assertIn(b"summary", harness.run("help", *flags, *shown).stdout)
        self.assertEqual(harness.run("help", *flags, *shown[:2], check=False).returncode, 2)


if __name__ == "__main__":
    import unittest
    unittest.main()
