"""Small files to convert, and judges of the results.

The picture is the same in all three formats: 48 x 32, in four quarters of one colour each. A result
is right if it has the size and the four colours; Pillow tells the colours. Without Pillow the size
is read from the format's own header, and the suite says at its start that it sees less.
"""

import base64
import io
import re
import struct
import zlib

try:
    from PIL import Image
except ImportError:
    Image = None

from client_v1 import PDF_TO_TEXT, TEXT_TO_PDF, TO_JPG, TO_PNG, TO_WEBP

WIDTH, HEIGHT = 48, 32

#: Upper left, upper right, lower left, lower right.
QUARTERS = ((220, 30, 30), (30, 200, 60), (40, 60, 220), (230, 210, 40))

#: What two lossy steps may change in the middle of a quarter, of 255.
COLOUR_TOLERANCE = 24

TEXT = "Of conversion and its ends.\n\nThe second paragraph, after a line left free.\n"


def png(width=WIDTH, height=HEIGHT, colour_at=None):
    """A PNG; `colour_at(x, y)` says what it shows."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    if colour_at is None:
        def colour_at(x, y):
            return QUARTERS[(y >= height // 2) * 2 + (x >= width // 2)]
    rows = b"".join(
        b"\0" + b"".join(bytes(colour_at(x, y)) for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pseudo_random(count, state=0x2545F491):
    """A linear congruence, the same on every run."""
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        yield state >> 16


def pdf(text):
    """A PDF of one page that shows `text` in one line of Helvetica."""
    content = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET" % text.encode("ascii")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    )
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, xref)
    return out


JPG = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQ
ERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQUFBT/wAARCAAgADADAREAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAAAAcJCP/EABQQAQAAAAAAAAAA
AAAAAAAAAAD/xAAYAQEBAQEBAAAAAAAAAAAAAAAACQcFCP/EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAMAwEAAhEDEQA/AIky
p79AAXpx0PQAEFdhcIABenHQ9AAcuqlPRAADU1DdvoADLJchgQADU1DdvoAD/9k=
""")

WEBP = base64.b64decode("""
UklGRoIAAABXRUJQVlA4IHYAAACQBgCdASowACAAPikQhkKhoQ6vMgAMAUJZgCsOUF+AfgB1NGVuLfgx+wH+Z5Ers1+uWd9h
QZ99oieu6+ogAP72kxFuXRub6+Exm3TAMjmmKctPrX5JFwv92Qv2RIstWgpmpuff3af//fL6BC6vZaH+crA4AAAA
""")

PICTURES = {"jpg": JPG, "png": png(), "webp": WEBP}
PICTURE_OPERATIONS = {"jpg": TO_JPG, "png": TO_PNG, "webp": TO_WEBP}

PDF_TEXT = "Plain words on a page"


def every_conversion():
    """All operations from all of their sources: `(name, operation, input, judge)`."""
    for source, body in PICTURES.items():
        for target, operation in PICTURE_OPERATIONS.items():
            yield f"{source}-to-{target}", operation, body, picture_judge(target)
    yield "text-to-pdf", TEXT_TO_PDF, TEXT.encode(), check_pdf
    yield "pdf-to-text", PDF_TO_TEXT, pdf(PDF_TEXT), check_text


def picture_judge(kind):
    """The judge of a picture in format `kind`."""
    return lambda result: check_picture(result, kind)


def check_picture(result, kind, size=(WIDTH, HEIGHT)):
    """Raises unless `result` is the picture, in format `kind`."""
    found = picture_header(result)
    if found != (kind, *size):
        raise AssertionError(f"the result is {found}, not {(kind, *size)}: {result[:40]!r}")
    if Image is None:
        return
    picture = Image.open(io.BytesIO(result))
    picture.load()
    picture = picture.convert("RGB")
    for number, expected in enumerate(QUARTERS):
        middle = (size[0] * (1 + 2 * (number % 2)) // 4, size[1] * (1 + 2 * (number // 2)) // 4)
        colour = picture.getpixel(middle)
        if max(abs(a - b) for a, b in zip(colour, expected)) > COLOUR_TOLERANCE:
            raise AssertionError(f"{kind} at {middle}: {colour} instead of {expected}")


def check_pdf(result):
    """Raises unless `result` is a PDF whose cross references begin where it says."""
    if not result.startswith(b"%PDF-") or not result.rstrip().endswith(b"%%EOF"):
        raise AssertionError(f"no PDF: {result[:20]!r} ... {result[-20:]!r}")
    (offset,) = re.findall(rb"startxref\s+(\d+)", result)
    if not re.match(rb"xref|\d+ \d+ obj", result[int(offset):]):
        raise AssertionError(f"no cross references at byte {int(offset)}")


def check_text(result, expected=PDF_TEXT):
    """Raises unless `result` says `expected`, whatever the white space."""
    words = result.decode("utf-8").split()
    if words != expected.split():
        raise AssertionError(f"the text is {words}, not {expected.split()}")


def picture_header(data):
    """Format, width and height, from the format's own header."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ("png", *struct.unpack(">II", data[16:24]))
    if data.startswith(b"\xff\xd8\xff"):
        return jpg_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp_header(data)
    return ("unknown", 0, 0)


def jpg_header(data):
    """Walks the segments of a JPEG to its frame header."""
    at = 2
    while at + 9 <= len(data):
        marker, length = struct.unpack(">HH", data[at:at + 4])
        if 0xFFC0 <= marker <= 0xFFC2:
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return ("jpg", width, height)
        at += 2 + length
    return ("jpg without a frame", 0, 0)


def webp_header(data):
    """Reads the size from whichever chunk comes first."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return ("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return ("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, height = data[24:27], data[27:30]
        return ("webp", int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1)
    return ("webp of a kind unknown", 0, 0)
