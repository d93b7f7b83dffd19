"""Processes that convert one file at a time and say what it cost: ours, and the ones that one could pick instead.

All speak the protocol of `examples/convert_loop.rs`: a line of target, path and result path, tabs between; an answer of
`ok`, bytes, CPU nanoseconds and KiB of memory, or `error`, kind, CPU nanoseconds, KiB, message.
"""

import os
import resource
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# pdfplumber needs more than a minute for 700 pages.
TIMEOUT_S = 300
IMAGES = {"jpg", "png", "webp"}


@dataclass
class Answer:
    ok: bool
    bytes: int
    cpu_ms: float
    peak_mib: float
    message: str = ""


class Converter:
    """A process that stays, so that only the first conversion pays for its start."""

    def __init__(self, name: str, command: list[str]):
        self.name = name
        self.command = command
        self.timeout_s = TIMEOUT_S
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def convert(self, target: str, path: Path, result: Path | None = None, *options: str) -> Answer:
        request = [target, str(path), str(result) if result else "-", *options]
        try:
            self.process.stdin.write("\t".join(request) + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], self.timeout_s)
            line = self.process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if not line:
            self.process.kill()
            status = self.process.wait()
            self.start()
            why = f"the process ended with status {status}" if ready else f"no answer in {self.timeout_s} s"
            return Answer(False, 0, 0.0, 0.0, why)
        fields = line.rstrip("\n").split("\t")
        cpu_ms, peak_mib = int(fields[2]) / 1e6, int(fields[3]) / 1024
        if fields[0] == "ok":
            return Answer(True, int(fields[1]), cpu_ms, peak_mib)
        return Answer(False, 0, cpu_ms, peak_mib, ": ".join(fields[1:2] + fields[4:]))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Program:
    """A reader of PDFs that has no way to stay: what its start costs is measured on an empty page and subtracted."""

    #: What reads `{path}` to the file `{result}`.
    COMMANDS = {
        "pdftotext": ["pdftotext", "-enc", "UTF-8", "{path}", "{result}"],
        "mutool": ["mutool", "draw", "-q", "-F", "txt", "-o", "{result}", "{path}"],
    }

    def __init__(self, name: str, empty_page: Path):
        self.name = name
        self.empty_page = empty_page

    def convert(self, target: str, path: Path, result: Path | None = None, *options: str) -> Answer:
        start_ms = self.run(self.empty_page, None)[1]
        status, cpu_ms, message = self.run(path, result)
        size = result.stat().st_size if result and result.exists() else 0
        return Answer(status == 0, size, max(0.01, cpu_ms - start_ms), 0.0, message)

    def run(self, path: Path, result: Path | None) -> tuple[int, float, str]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        names = {"path": str(path), "result": str(result or "/dev/null")}
        command = [part.format(**names) for part in self.COMMANDS[self.name]]
        done = subprocess.run(command, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return done.returncode, cpu * 1e3, done.stderr.decode(errors="replace").strip()[:200]

    def close(self) -> None:
        pass


def reference(name: str, python: str) -> Converter:
    return Converter(name, [python, str(Path(__file__).with_name("reference.py")), name])


def sharp(install: bool, folder: Path) -> Converter | None:
    """sharp, where node and npm are here to install it into a throw-away folder, or have done so before."""
    modules = folder / "node_modules" / "sharp"
    if install and not modules.exists() and shutil.which("npm"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "sharp"]
        subprocess.run(command, cwd=folder, check=True)
    if not (modules.exists() and shutil.which("node")):
        return None
    return Converter("sharp", ["node", str(Path(__file__).with_name("reference.js")), str(folder)])


def ours(name: str, binary: Path) -> Converter:
    return Converter(name, [str(binary)])


def build(features: str = "") -> Path:
    """Builds the examples for release, and keeps them where the next build does not overwrite them.

    Returns the path of convert_loop; codec_floor is beside it, by `floor_of`.
    """
    target = target_folder()
    command = ["cargo", "build", "--release", "--example", "convert_loop", "--example", "codec_floor"]
    subprocess.run(command + (["--features", features] if features else []), cwd=ROOT, check=True)
    kept = target / f"convert-loop-{features or 'default'}"
    for example, copy in (("convert_loop", kept), ("codec_floor", floor_of(kept))):
        shutil.copy2(target / "release" / "examples" / example, copy)
    return kept


def floor_of(convert_loop: Path) -> Path:
    """Where the other example of the same build is."""
    return convert_loop.with_name(convert_loop.name.replace("convert-loop", "codec-floor"))


def all_builds() -> list[Converter]:
    """The default codecs, and libjpeg-turbo where its build tools are here: the last one is the best."""
    found = [ours("default", build())]
    if shutil.which("cmake") and shutil.which("nasm"):
        found.append(ours("turbo", build("turbo")))
    return found


def target_folder() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def has_module(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def python_for_references(install: bool, folder: Path) -> str:
    """This interpreter, or one of a throw-away environment that gets the reference libraries installed."""
    if not install:
        return sys.executable
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "pillow", "pyvips[binary]", "reportlab", "pdfplumber"],
            check=True,
        )
    os.environ["VIPS_CONCURRENCY"] = "1"
    return str(python)
