"""What stands in a server's memory after a request, and who may look at it."""

import os
import re
import secrets
import shutil
import unittest
from pathlib import Path

import client_v1
import client_v1_1
import harness


def memory_of(pid):
    """Every range of a process's memory that it can write, as bytes."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not found:
                continue
            start, end = (int(text, 16) for text in found.groups())
            while start < end:
                try:
                    memory.seek(start)
                    part = memory.read(min(end - start, 1 << 24))
                except OSError:
                    break  # a guard page, or a mapping of the kernel's own
                if not part:
                    break
                yield part
                start += len(part)


class Secrets(harness.Case):
    """Memory, looked at from outside."""

    def found(self, server, mark):
        """How often a mark stands in a server's memory."""
        return sum(part.count(mark) for part in memory_of(server.pid))

    @unittest.skipUnless(os.geteuid() == 0, "only root may read another process's memory")
    def test_a_master_forgets_what_went_through_it(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                _, master, address = self.start_tiers(io, (), ("--threads", "1"))
                with client_v1_1.Connection(address, self.context, harness.TOKEN) as connection:
                    # The first record of a connection goes through memory of the TLS library, which
                    # SECURITY.md tells of. What follows goes through our own.
                    connection.convert(client_v1.TEXT_TO_PDF, b"first")
                    # A body that is small, one of many records, and one for the large buffers.
                    for count in (1, 3_000, 30_000):
                        self.convert_and_look(connection, master, count)

    def convert_and_look(self, connection, master, count):
        """A text of so many lines to PDF and back, each leaving nothing behind."""
        mark = secrets.token_hex(16).encode()
        pdf = connection.convert(client_v1.TEXT_TO_PDF, (mark + b"\n") * count)
        harness.eventually("the body is gone", lambda: self.found(master, mark) == 0)
        text = connection.convert(client_v1.PDF_TO_TEXT, pdf)
        self.assertIn(mark, text)
        harness.eventually("the answer is gone", lambda: self.found(master, mark) == 0)

    def test_the_look_into_memory_finds_what_is_there(self):
        if os.geteuid() != 0:
            self.skipTest("only root may read another process's memory")
        _, master, address = self.start_tiers("epoll")
        mark = secrets.token_hex(16).encode()
        body = (mark + b"\n") * 1000
        with client_v1.connect(address, self.context) as stream:
            stream.sendall(client_v1.request_header(
                body, client_v1.TEXT_TO_PDF, harness.TOKEN, size=len(body)) + body[:-1])
            harness.eventually("a body on its way is found", lambda: self.found(master, mark))
            stream.sendall(body[-1:])
            client_v1.read_answer(stream)

    @unittest.skipUnless(os.geteuid() == 0, "without root the harness asks for dumps")
    def test_memory_is_not_dumped(self):
        worker, master, _ = self.start_tiers("epoll")
        for server in (worker, master):
            limits = Path(f"/proc/{server.pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ")

    @unittest.skipUnless(os.geteuid() == 0, "starting a server as another user needs root")
    def test_memory_is_not_read_by_others_of_the_same_user(self):
        binary = shutil.copy(harness.find_binary(), self.dir / "fxsrv")
        self.dir.chmod(0o755)
        user = 20_000 + os.getpid() % 40_000
        for path in (self.token_file, self.certs, *self.certs.iterdir()):
            os.chown(path, user, user)
        options = {"binary": binary, "user": user, "group": user, "extra_groups": []}
        worker = self.start_worker("--io", "epoll", **options)
        worker.address()
        # What belongs to root there, its own user cannot open.
        self.assertEqual(os.stat(f"/proc/{worker.pid}/mem").st_uid, 0)
        self.assertEqual(os.stat(f"/proc/{worker.pid}/environ").st_uid, 0)


if __name__ == "__main__":
    unittest.main()
