"""Runs the suite as `unittest discover` does, and says of a failure whether it comes back.

    suite.py [--again N] [arguments of unittest]

With `--again N` up to N tests that failed are run once more, each alone, when everything else is done. One that fails
again is a failure. One that passes is a flaw all the same, of the test or of the server under load, and its first failure is
printed under FLAKY; but it does not hold up a change that has nothing to do with it.
"""

import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    arguments = sys.argv[1:]
    again = 0
    if arguments[:1] == ["--again"]:
        again, arguments = int(arguments[1]), arguments[2:]
    program = unittest.main(
        module=None, argv=["tests/e2e/run", "discover", "-s", str(HERE), *arguments], exit=False)
    result = program.result
    if result.wasSuccessful():
        return 0
    if result.unexpectedSuccesses or len(failed_tests(result)) > again:
        return 1
    return rerun(result)


def failed_tests(result):
    """The failed tests by their names, each with what it said; parts of a test count as the test."""
    failed = {}
    for test, text in [*result.failures, *result.errors]:
        test = getattr(test, "test_case", test)
        failed.setdefault(test.id(), []).append(text)
    return failed


def rerun(result):
    """The exit code, after each failed test has been run once more."""
    code = 0
    for name, texts in failed_tests(result).items():
        print(f"== once more: {name}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "unittest", name], cwd=HERE)
        if done.returncode:
            code = 1
        else:
            print(f"FLAKY: {name} failed, and passed when it was run again:\n" + "\n".join(texts),
                  file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
