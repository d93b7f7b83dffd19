"""A reference converter as a process, by the protocol of `examples/convert_loop.rs`: `reference.py NAME`.

Each does what its documentation shows, with its defaults: nothing is made slower or faster on purpose.
"""

import io
import resource
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape


def pillow(target: str, data: bytes) -> bytes:
    from PIL import Image, ImageOps

    # Twice as many are refused: what a header alone can claim would take all memory.
    Image.MAX_IMAGE_PIXELS = 100_000_000
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if target == "jpg" and picture.mode not in ("RGB", "L"):
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        picture = picture.convert("RGB")
    if target == "png" and picture.mode in ("CMYK", "YCbCr"):
        picture = picture.convert("RGB")
    out = io.BytesIO()
    picture.save(out, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[target])
    return out.getvalue()


def pyvips(target: str, data: bytes) -> bytes:
    import pyvips as vips

    vips.cache_set_max(0)
    picture = vips.Image.new_from_buffer(data, "")
    # The same qualities as the others'; libvips writes PNG at zlib's level 6 without filters.
    options = {"jpg": {"Q": 75}, "png": {}, "webp": {"Q": 80}}[target]
    return picture.write_to_buffer(f".{target}", **options)


def reportlab(target: str, data: bytes) -> bytes:
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate

    out = io.BytesIO()
    style = getSampleStyleSheet()["Normal"]
    text = data.decode("utf-8").replace("\0", "")
    parts = [Paragraph(escape(part), style) for part in text.split("\n\n")]
    SimpleDocTemplate(out, pagesize=A4).build(parts)
    return out.getvalue()


def pdfplumber(target: str, data: bytes) -> bytes:
    import pdfplumber as plumber

    with plumber.open(io.BytesIO(data)) as document:
        return "\f".join(page.extract_text() or "" for page in document.pages).encode()


ADDRESS_SPACE_BYTES = 6 * 2**30

CONVERTERS = {"pillow": pillow, "pyvips": pyvips, "reportlab": reportlab, "pdfplumber": pdfplumber}


def main() -> None:
    convert = CONVERTERS[sys.argv[1]]
    # A bomb among the files of a folder must not take the machine down.
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    for line in sys.stdin:
        target, path, result, *_ = line.rstrip("\n").split("\t")
        data = Path(path).read_bytes()
        Path("/proc/self/clear_refs").write_text("5")
        resident = status_kib("VmRSS:")
        start = time.process_time_ns()
        try:
            out, failure = convert(target, data), ()
        except Exception as error:  # whatever a library throws is its answer
            out, failure = b"", (type(error).__name__, " ".join(str(error).split())[:200])
        cpu_ns = time.process_time_ns() - start
        peak = max(0, status_kib("VmHWM:") - resident)
        if failure:
            print(f"error\t{failure[0]}\t{cpu_ns}\t{peak}\t{failure[1]}", flush=True)
            continue
        if result != "-":
            Path(result).write_bytes(out)
        print(f"ok\t{len(out)}\t{cpu_ns}\t{peak}", flush=True)


def status_kib(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
