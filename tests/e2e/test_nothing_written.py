"""Nothing of a file is written to disk, by neither tier.

Three witnesses, since none sees everything. strace sees every system call, but not what is asked of
a ring. The descriptors that a process holds show what a ring could write to. The kernel's own count
of bytes that a process caused to be written, and the directories that it could write to, show the
rest.
"""

import re
import shutil
import unittest
from pathlib import Path

import harness
import samples

CONVERSIONS = 50

WRITING_CALLS = (
    "open", "openat", "openat2", "creat", "write", "writev", "pwrite64", "pwritev", "pwritev2",
    "sendfile", "copy_file_range", "splice", "rename", "renameat", "renameat2", "unlink",
    "unlinkat", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat", "memfd_create",
    "truncate", "ftruncate", "fallocate", "mknod", "mknodat", "mmap")

#: What a descriptor may be: nothing of this is a file that keeps bytes. The memory that a worker shares
#: with a process that converts for it has a descriptor, and no place on a disk.
HARMLESS = re.compile(
    r"socket:|pipe:|/memfd:fxsrv|/dev/(null|u?random)$|anon_inode:\[?(eventfd|eventpoll|io_uring|signalfd"
    r"|timerfd)")

#: An open that could change a file.
FOR_WRITING = re.compile(r"\b(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE)\b")


def conversions(total=CONVERSIONS):
    """`total` conversions of all kinds, over and over."""
    made = 0
    while made < total:
        for conversion in samples.every_conversion():
            yield conversion
            made += 1
            if made == total:
                return


def files_below(directory):
    """Everything below a directory with its size and time of change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in Path(directory).rglob("*")}


class NothingWritten(harness.Case):
    """50 conversions of every kind, on both drivers and both versions."""

    def run_conversions(self, address, each=lambda: None):
        """Converts, with a look by `each` while a connection of ours is open."""
        for number, (_, operation, body, judge) in enumerate(conversions()):
            convert = self.convert_v1_1 if number % 2 else self.convert_v1
            judge(convert(address, operation, body))
            each()

    def check_descriptors(self, server):
        """Raises where the process holds anything that could keep bytes."""
        for number, target in server.fds().items():
            if not HARMLESS.match(target):
                self.fail(f"{server.name} holds {target} as descriptor {number}")
            if server.name == "master" and target.startswith("/memfd:"):
                self.fail("a master shares memory, and has nobody to share it with")

    def test_descriptors_directories_and_the_count_of_the_kernel(self):
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                worker, master, address = self.start_tiers(io)
                servers = (worker, master)
                written = [server.io("write_bytes") for server in servers]
                places = [self.dir, Path("/dev/shm"), Path("/var/tmp")]
                before = [files_below(place) for place in places]

                def look():
                    for server in servers:
                        self.check_descriptors(server)
                self.run_conversions(address, look)
                self.assertEqual(
                    [server.io("write_bytes") for server in servers], written,
                    "the kernel counts bytes written to storage")
                for place, files in zip(places, before):
                    if place == self.dir:
                        self.assertEqual(files_below(place), files)
                    else:
                        # Others may write there at the same time; nothing may be of our making.
                        new = set(files_below(place)) - set(files)
                        self.assertFalse([name for name in new if "fxsrv" in name])

    def test_system_calls(self):
        if not shutil.which("strace"):
            self.skipTest("strace is missing: install it with `apt-get install strace`")
        for io in harness.DRIVERS:
            with self.subTest(io=io):
                traces = [self.dir / f"{io}-{role}.strace" for role in ("worker", "master")]
                worker, master = self.traced_tiers(io, traces)
                self.run_conversions(master.address())
                for server, trace in zip((worker, master), traces):
                    server.end()
                    harness.eventually(
                        f"strace of the {server.name} ends",
                        lambda trace=trace, server=server: re.search(
                            rf"^{server.pid} .*\+\+\+ exited with 0", trace.read_text(), re.M))
                    self.check_trace(server, trace.read_text())

    def traced_tiers(self, io, traces):
        """Worker and master under strace, whose tracer is no parent so that pids stay ours."""
        def wrapper(trace):
            return ("strace", "-D", "-f", "-y", "-e", "signal=none", "-s", "64",
                    "-e", "trace=" + ",".join(f"?{call}" for call in WRITING_CALLS),
                    "-o", str(trace))
        worker = self.start_worker("--io", io, wrapper=wrapper(traces[0]))
        master = self.start_master(worker.address(), "--io", io, wrapper=wrapper(traces[1]))
        return worker, master

    def check_trace(self, server, trace):
        """Goes through every call that could write, and through nothing but these."""
        seen = 0
        for line in trace.splitlines():
            found = re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)", line)
            if not found:
                continue
            seen += 1
            call, rest = found.groups()
            if "resumed>" in line:
                continue
            if call.startswith("open") or call == "creat":
                if call == "creat" or FOR_WRITING.search(rest):
                    allowed = re.search(
                        r'"/dev/null"|"/proc/self/(task|comm|oom_score_adj")', rest)
                    self.assertTrue(allowed, f"{server.name} opens for writing: {line}")
            elif call == "memfd_create":
                # Memory for a child, and that of a font, which is sealed before anybody connects.
                self.assertRegex(rest, '^"fxsrv(-font)?"', f"{server.name}: {line}")
            elif call in ("ftruncate", "pwrite64", "fallocate"):
                self.assertRegex(rest, r"^\d+</memfd:fxsrv(-font)?>", f"{server.name}: {line}")
            elif call in ("write", "writev"):
                target = re.match(r"\d+<([^>]*)>", rest)
                harmless = target and (
                    HARMLESS.match(target[1]) or target[1].endswith("/oom_score_adj"))
                self.assertTrue(harmless, f"{server.name} writes: {line}")
            elif call == "mmap":
                shared_and_writable = "MAP_SHARED" in rest and "PROT_WRITE" in rest
                ring = "anon_inode:[io_uring]" in rest or "MAP_ANONYMOUS" in rest
                self.assertFalse(
                    shared_and_writable and not ring, f"{server.name} maps for writing: {line}")
            else:
                self.fail(f"{server.name}: {line}")
        self.assertGreater(seen, 20, "the trace holds the start of a program at least")


if __name__ == "__main__":
    unittest.main()
