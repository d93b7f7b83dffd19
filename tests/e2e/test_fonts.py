"""Characters that the built-in font lacks: fonts that are named, one that the machine has, and none."""

import os
import re
import shutil
import subprocess
import unittest

import client_v1
import harness
import samples
import tinyfont

TEXT = "Ж 中文 and かな\n中 한국어\n"

#: All that the built-in font lacks of it.
LACKING = "中文かな한국어"

NOTICE = rb"/Notice\(\d+ characters have no glyph in any font of the converter"


def found():
    """The font that `fxsrv` has found on this machine, or `none`."""
    facts = harness.run("up", "--web", "off", "--check-config").stdout.decode()
    return re.search(r"^ *fonts: (.+)$", facts, re.MULTILINE).group(1)


class Fonts(harness.Case):
    """From a file of a font to the text of a PDF that was set in it."""

    def setUp(self):
        super().setUp()
        self.font = self.dir / "tiny.ttf"
        self.font.write_bytes(tinyfont.font(LACKING))
        self.text = self.dir / "text.txt"
        self.text.write_text(TEXT)

    def convert_locally(self, *args, check=True):
        """`fxsrv convert`, and the PDF if there is one."""
        done = harness.run("convert", self.text, "--to", "pdf", "--force", *args, check=check)
        made = self.dir / "text.pdf"
        return done, made.read_bytes() if made.exists() else None

    def check_pdf(self, pdf, text=TEXT):
        """It reads back, by our own way and by one that is not."""
        samples.check_pdf(pdf)
        (self.dir / "made.pdf").write_bytes(pdf)
        harness.run("convert", self.dir / "made.pdf", "--to", "txt", "--force")
        self.assertEqual((self.dir / "made.txt").read_text(), text + "\f")
        if shutil.which("pdftotext"):
            done = subprocess.run(
                ["pdftotext", "-enc", "UTF-8", "made.pdf", "-"], cwd=self.dir, check=True,
                capture_output=True, timeout=harness.PATIENCE_S)
            self.assertEqual(done.stdout.decode().split(), text.split())
            self.assertEqual(done.stderr, b"")
        if shutil.which("qpdf"):
            subprocess.run(
                ["qpdf", "--check", "made.pdf"], cwd=self.dir, check=True, capture_output=True,
                timeout=harness.PATIENCE_S)

    def test_a_named_font_reaches_every_conversion(self):
        for io in harness.DRIVERS:
            for isolation in ("process", "thread"):
                with self.subTest(io=io, isolation=isolation):
                    options = ("--isolation", isolation, "--font", self.font)
                    worker, _, address = self.start_tiers(io, options)
                    pdf = self.convert_v1_1(address, client_v1.TEXT_TO_PDF, TEXT.encode())
                    self.assertNotRegex(pdf, NOTICE)
                    self.check_pdf(pdf)
                    for pid in worker.children() if os.geteuid() == 0 else ():
                        links = [os.readlink(f"/proc/{pid}/fd/{number}")
                                 for number in os.listdir(f"/proc/{pid}/fd")]
                        self.assertFalse([link for link in links if "font" in link], "it is mapped")

    def test_what_no_font_has_reads_back_and_is_told(self):
        worker, _, address = self.start_tiers("epoll", ("--font", "none"))
        pdf = self.convert_v1_1(address, client_v1.TEXT_TO_PDF, TEXT.encode())
        self.assertRegex(pdf, NOTICE)
        self.check_pdf(pdf)
        self.assertNotIn("U+4E2D", worker.log())
        done, pdf = self.convert_locally("--font", "none")
        self.assertRegex(pdf, NOTICE)
        self.assertRegex(done.stderr, rb"text.txt: 7 characters have no glyph .*: U\+4E2D U\+6587")

    def test_the_command_line_takes_several_in_their_order(self):
        first, second = self.dir / "first.ttf", self.dir / "second.ttf"
        first.write_bytes(tinyfont.font(LACKING[:3]))
        second.write_bytes(tinyfont.font(LACKING[2:]))
        done, pdf = self.convert_locally("--font", first, "--font", second)
        self.assertEqual(done.stderr, b"")
        self.check_pdf(pdf)
        # Without the second, what it has is not there.
        done, _ = self.convert_locally("--font", first)
        self.assertIn(b"text.txt: 4 characters", done.stderr)

    def test_a_font_that_cannot_be_used_ends_the_start(self):
        locked, broken = self.dir / "locked.ttf", self.dir / "broken.ttf"
        locked.write_bytes(tinyfont.font(LACKING, fs_type=2))
        broken.write_bytes(self.font.read_bytes()[:200])
        missing = self.dir / "missing.ttf"
        for path, why in ((locked, "its licence does not let it"), (broken, "cannot be read"),
                          (missing, "No such file")):
            for command in (("convert", self.text, "--to", "pdf"),
                            ("worker", "--certs", self.certs, "--check-config")):
                with self.subTest(font=path.name, command=command[0]):
                    done = harness.run(*command, "--font", path, check=False)
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertIn(why, done.stderr.decode())
                    self.assertIn(path.name, done.stderr.decode())

    def test_a_font_of_this_machine_is_found(self):
        font = found()
        if font == "none":
            raise unittest.SkipTest("this machine has no font for CJK")
        # Hangul is not in all of them.
        text = TEXT.replace(" 한국어", "")
        self.text.write_text(text)
        done, pdf = self.convert_locally()
        self.assertEqual(done.stderr, b"", font)
        self.check_pdf(pdf, text)
        if shutil.which("pdffonts"):
            done = subprocess.run(
                ["pdffonts", "made.pdf"], cwd=self.dir, check=True, capture_output=True,
                timeout=harness.PATIENCE_S)
            # Name, type, encoding; then embedded, subset, ToUnicode.
            rows = done.stdout.decode().splitlines()[2:]
            self.assertEqual(len(rows), 2, rows)
            for row in rows:
                self.assertRegex(row, r"yes +yes +yes")


if __name__ == "__main__":
    unittest.main()
