"""What the suite needs beside Python: looked for, and said loudly where it is missing.

    python3 prerequisites.py      prints what is missing; exit code 1 if anything is
"""

import os
import shutil
import sys


def has_pillow():
    """Whether results can be decoded."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def has_s3_server():
    """Whether a bucket can be served, by a process of its own."""
    import bucket
    return bucket.has_server()


def has_lasting_s3_server():
    """Whether a bucket can be served that outlives its server."""
    import bucket
    return bucket.has_lasting_server()


def has_binary():
    """Whether there is something to test."""
    import harness
    try:
        harness.find_binary()
    except FileNotFoundError:
        return False
    return True


def has_nats():
    """Whether a queue can be served."""
    import nats
    return nats.has_server()


def has_validator():
    """Whether manifests can be held against schemas."""
    import test_deploy
    return test_deploy.has_validator()


def has_cjk_font():
    """Whether the machine has a font that text to PDF would find for Chinese."""
    import test_fonts
    return has_binary() and test_fonts.found() != "none"


#: `(name, whether it is there, what is not tested without it, how to have it)`.
WANTED = (
    ("Python 3.9", lambda: sys.version_info >= (3, 9), "anything", "install a newer Python"),
    ("fxsrv", has_binary, "anything", "`cargo build --release`, or set FXSRV_BIN"),
    ("Pillow", has_pillow, "the colours of results; sizes and structure are",
     "`python3 -m pip install Pillow` or `apt-get install python3-pil`"),
    ("moto", has_s3_server, "a store over a bucket",
     "`python3 -m pip install 'moto[s3,server]'`"),
    ("localbucket", has_lasting_s3_server, "batches whose storage is killed",
     "`python3 -m pip install localbucket`"),
    ("nats-server", has_nats, "batches over a queue", "`apt-get install nats-server`"),
    ("kubernetes-validate", has_validator, "the manifests of deploy/",
     "`python3 -m pip install kubernetes-validate`"),
    ("a font for CJK", has_cjk_font, "that text to PDF finds one",
     "`apt-get install fonts-droid-fallback`"),
    ("strace", lambda: shutil.which("strace"), "that no system call writes a file",
     "`apt-get install strace`"),
    ("openssl", lambda: shutil.which("openssl"), "TLS as `openssl s_client` sees it",
     "`apt-get install openssl`"),
    ("root", lambda: os.geteuid() == 0, "a server as an ordinary user with a memlock limit",
     "run as root, such as in a container"),
)


def missing():
    """One line for everything that is not there."""
    return [
        f"missing: {name}; not tested without it: {lost}; to have it: {remedy}"
        for name, present, lost, remedy in WANTED if not present()]


if __name__ == "__main__":
    lines = missing()
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(1 if lines else 0)
