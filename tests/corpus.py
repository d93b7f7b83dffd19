#!/usr/bin/env python3
"""Sends every file of a folder through a master and a worker, for every operation.

    tests/corpus.py --folder FOLDER [--write docs/corpus.md]

Each request must end with a result or with a coded error, within the deadline, and the same worker
must serve the next one: a panic, a hang, a broken connection or a WORKER_FAILED is a failure of
ours, named and counted, and makes the exit code 1. The counts are printed as a table, and written
where --write says.

Needs Python 3.9 and nothing else. The binary is found as the suite in tests/e2e finds it.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "e2e"))
import client_v1
import client_v1_1
import harness

OPERATIONS = {1: "to JPG", 2: "to PNG", 3: "to WEBP", 4: "to PDF", 5: "to text"}

#: No file of a corpus may take longer, on any machine that tests run on.
DEADLINE_S = 60

#: Codes that mean that something of ours failed, and not the file.
OURS = {"WORKER_FAILED", "DEADLINE_EXCEEDED", "NO_WORKER", "TIMEOUT", "BUSY"}


def main():
    arguments = parse_arguments()
    files = sorted(path for path in arguments.folder.rglob("*") if is_sample(path))
    if not files:
        sys.exit(f"error: no files under {arguments.folder}")
    with tempfile.TemporaryDirectory() as directory, tiers(Path(directory)) as connect:
        counts, failures, slowest = send_all(connect, arguments.folder, files)
    table = "\n".join(report(files, counts, failures, slowest))
    print(table)
    if arguments.write:
        arguments.write.write_text(page(table))
    sys.exit(1 if failures else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the files to send")
    parser.add_argument("--write", type=Path, help="a Markdown page for the counts")
    return parser.parse_args()


def is_sample(path):
    """Files beside the samples describe them."""
    return path.is_file() and path.suffix not in {".md", ".json"}


@contextlib.contextmanager
def tiers(directory):
    """A worker and a master; gives a function that connects to them."""
    certs, token = directory / "certs", directory / "token"
    harness.run("certs", "init", "--dir", certs, "--name", "localhost", "--name", "127.0.0.1")
    token.write_text(harness.TOKEN)
    token.chmod(0o600)
    common = ("--listen", "127.0.0.1:0", "--certs", certs, "--log", "warn")
    worker = harness.Server(directory, "worker", *common)
    try:
        host, port = worker.address()
        with_worker = ("--token-file", token, "--worker", f"{host}:{port}")
        master = harness.Server(directory, "master", *common, *with_worker)
        try:
            context = client_v1.tls_context(certs / "ca.pem")
            address = master.address()
            yield lambda: client_v1_1.Connection(address, context, harness.TOKEN)
        finally:
            master.end()
    finally:
        worker.end()


def send_all(connect, folder, files):
    """Counts outcomes by the file's kind (its first folder), operation and code."""
    counts, failures, slowest = defaultdict(Counter), [], (0, "nothing")
    connection = connect()
    for path in files:
        name = path.relative_to(folder)
        kind = name.parts[0] if len(name.parts) > 1 else path.suffix.lstrip(".")
        body = path.read_bytes()
        for operation, label in OPERATIONS.items():
            started = time.monotonic()
            try:
                connection.send(operation, body)
                code = connection.receive().code
            except (OSError, ValueError, EOFError) as error:
                code = f"no answer ({error})"
                connection = connect()
            took = time.monotonic() - started
            slowest = max(slowest, (took, f"{name} {label}"))
            counts[kind][label, code] += 1
            if code in OURS or code.startswith("no answer") or took > DEADLINE_S:
                failures.append(f"{name} {label}: {code} after {took:.1f} s")
    connection.close()
    return counts, failures, slowest


def report(files, counts, failures, slowest):
    """The table, line by line: a row for each kind and operation that is meant for it."""
    total = sum(sum(counter.values()) for counter in counts.values())
    yield f"{len(files)} files, {total} requests, {len(failures)} failures of ours."
    yield ""
    yield "| files | operation | converted | refused, by code |"
    yield "|---|---|---:|---|"
    for kind, counter in sorted(counts.items()):
        for label in OPERATIONS.values():
            codes = {code: n for (of, code), n in sorted(counter.items()) if of == label}
            converted = codes.pop("OK", 0)
            refused = ", ".join(f"{code} {n}" for code, n in codes.items()) or "-"
            yield f"| {kind} | {label} | {converted} | {refused} |"
    yield ""
    print(f"slowest: {slowest[1]}, {slowest[0]:.2f} s", file=sys.stderr)
    for failure in failures:
        yield f"failed: {failure}"


def page(table):
    return f"""# Every file of a corpus

Real and broken files from the test suites of other projects, each sent through master and worker for each of the
five operations. `python3 tests/corpus.py --folder FOLDER --write docs/corpus.md` makes this page from any folder; the corpus
itself is not part of the repository. CI runs the same where the corpus is present.

{table}
WRONG_TYPE is the right answer for a text that is to become a picture. UNKNOWN_TYPE and MALFORMED_INPUT are files that are broken
on purpose: what they are and why is said in the suites that they come from.
"""


if __name__ == "__main__":
    main()
