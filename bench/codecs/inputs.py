"""Inputs of the codec comparison, made from a seed: the same bytes wherever Pillow is the same.

Nothing is downloaded. The photographs are synthetic: noise with the 1/f spectrum of natural pictures, sharp-edged
shapes, and the noise of a sensor on top, so that filters, Huffman codes and DCT blocks meet what they meet in a camera's
file. A folder of real files can be added on the command line.
"""

import math
import random
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SEED = 20_260_101

# A side of noise whose samples are about 1.5 times the file's size, which zero bytes then fill: how the generated
# files of load tests for converters usually look.
NOISE_BYTES = {"noise100k": 100_000, "noise1m": 1_000_000, "noise5m": 5_000_000, "noise10m": 10_000_000}


def make_all(folder: Path, quick: bool) -> list[Path]:
    """Makes what is not there yet, and returns every input."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "photo3": lambda: pictures(folder, "photo3", photo(2000, 1500, SEED)),
        "shot": lambda: pictures(folder, "shot", screenshot(2560, 1440, SEED), ["png", "webp"]),
        "rgba": lambda: pictures(folder, "rgba", with_alpha(photo(1600, 1200, SEED + 1)), ["png", "webp"]),
        "deep": lambda: deep_png(folder / "deep.png", photo(1600, 1200, SEED + 2)),
        "text": lambda: texts(folder),
    }
    if not quick:
        makers["photo12"] = lambda: pictures(folder, "photo12", photo(4000, 3000, SEED + 3))
    for name, size in NOISE_BYTES.items():
        if not quick or size <= 1_000_000:
            makers[name] = lambda name=name, size=size: noise(folder, name, size)
    for name, make in makers.items():
        done = folder / f".{name}.done"
        if not done.exists():
            make()
            done.touch()
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def photo(width: int, height: int, seed: int) -> Image.Image:
    rng = random.Random(seed)
    bands = [one_over_f(width, height, rng) for _ in range(3)]
    # Natural colours go together: each band is mostly the first one.
    luma = bands[0]
    bands = [luma] + [Image.blend(luma, band, 0.25) for band in bands[1:]]
    picture = Image.merge("RGB", bands)
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y = rng.randrange(width), rng.randrange(height)
        size = int(width * 0.01 + width * 0.12 * rng.random() ** 2)
        colour = tuple(rng.randrange(20, 235) for _ in range(3))
        box = [x, y, x + size, y + int(size * (0.4 + rng.random()))]
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    picture = Image.blend(picture, Image.merge("RGB", bands), 0.55).filter(ImageFilter.GaussianBlur(0.6))
    return ImageChops.add(picture, sensor_noise(width, height, rng), 1, -128)


def one_over_f(width: int, height: int, rng: random.Random) -> Image.Image:
    total = Image.new("L", (width, height), 128)
    cells, amplitude = 4, 0.5
    while cells < width // 2:
        rows = max(1, cells * height // width)
        octave = Image.frombytes("L", (cells, rows), rng.randbytes(cells * rows))
        octave = octave.resize((width, height), Image.Resampling.BICUBIC)
        octave = octave.point(lambda value, a=amplitude: int(128 + (value - 128) * a))
        total = ImageChops.add(total, octave, 1, -128)
        cells, amplitude = cells * 2, amplitude * 0.9
    return total


def sensor_noise(width: int, height: int, rng: random.Random) -> Image.Image:
    def uniform():
        return Image.frombytes("RGB", (width, height), rng.randbytes(width * height * 3))

    # The mean of four is close to a bell curve; its deviation of 37 becomes about 0.7.
    mean = Image.blend(Image.blend(uniform(), uniform(), 0.5), Image.blend(uniform(), uniform(), 0.5), 0.5)
    return mean.point(lambda value: round(128 + (value - 127.5) * 0.02))


def screenshot(width: int, height: int, seed: int) -> Image.Image:
    rng = random.Random(seed)
    picture = Image.new("RGB", (width, height), (245, 246, 248))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, width, 40], fill=(52, 58, 70))
    draw.rectangle([0, 40, 320, height], fill=(232, 234, 238))
    for _ in range(40):
        x, y = rng.randrange(340, width - 320), rng.randrange(60, height - 140)
        colour = tuple(rng.randrange(140, 256) for _ in range(3))
        draw.rounded_rectangle([x, y, x + rng.randrange(40, 300), y + rng.randrange(20, 120)], 8, fill=colour)
    for line in range(60, height - 20, 18):
        for column in range(20, width - 500, 620):
            if rng.random() < 0.8:
                text = " ".join(word(rng) for _ in range(rng.randrange(4, 12)))
                draw.text((column, line), text[:90], fill=(30, 32, 38))
    for at in range(200):
        shade = 255 - at // 2
        draw.line([width - 420, 80 + at, width - 40, 80 + at], fill=(shade, shade, 255))
    icon = photo(256, 256, seed + 1)
    picture.paste(icon, (width - 360, 400))
    return picture


def with_alpha(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    alpha = Image.new("L", picture.size, 0)
    ImageDraw.Draw(alpha).ellipse([width // 10, height // 10, width * 9 // 10, height * 9 // 10], fill=255)
    picture = picture.copy()
    picture.putalpha(alpha.filter(ImageFilter.GaussianBlur(12)))
    return picture


def pictures(folder: Path, name: str, picture: Image.Image, kinds=("png", "jpg", "webp")) -> None:
    if "png" in kinds:
        picture.save(folder / f"{name}.png", compress_level=6)
    if "jpg" in kinds:
        picture.save(folder / f"{name}.jpg", quality=92)
    if "webp" in kinds:
        picture.save(folder / f"{name}.webp", quality=90)


def deep_png(path: Path, picture: Image.Image) -> None:
    """16 bits a sample, which Pillow reads and cannot write: the lower byte is a little noise."""
    rng = random.Random(SEED)
    upper = picture.tobytes()
    samples = bytearray(len(upper) * 2)
    samples[0::2] = upper
    samples[1::2] = bytes(byte & 0x3F for byte in rng.randbytes(len(upper)))
    row = picture.width * 6
    rows = b"".join(b"\1" + sub(samples[at : at + row], 6) for at in range(0, len(samples), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")):
        file += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(file)


def sub(row: bytes, pixel: int) -> bytes:
    left = bytes(pixel) + row[:-pixel]
    return bytes((here - before) & 255 for here, before in zip(row, left))


def noise(folder: Path, name: str, size: int) -> None:
    rng = random.Random(size)
    side = math.isqrt(size // 2)
    picture = Image.frombytes("RGB", (side, side), rng.randbytes(side * side * 3))
    for kind in ("jpg", "png", "webp"):
        path = folder / f"{name}.{kind}"
        picture.save(path)
        padding = size - path.stat().st_size
        with path.open("ab") as file:
            file.write(bytes(max(0, padding)))


def word(rng: random.Random, letters: str = "etaoinshrdlucmfwypvbgkjqxz") -> str:
    length = min(12, 1 + int(rng.expovariate(0.25)))
    return "".join(letters[min(len(letters) - 1, int(rng.expovariate(0.16)))] for _ in range(length))


def texts(folder: Path) -> None:
    rng = random.Random(SEED)
    latin = [word(rng) for _ in range(6000)]
    mixed = latin[:2000] + [word(rng, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё") for _ in range(3000)]
    mixed += [word(rng, "αοιετσνηυρπκμλωδγχθφβξζψ") for _ in range(1000)]
    (folder / "text2m.txt").write_text(prose(rng, latin, 2_100_000), encoding="utf-8")
    (folder / "textmix.txt").write_text(prose(rng, mixed, 700_000), encoding="utf-8")
    (folder / "text100k.txt").write_text(prose(rng, latin, 100_000).replace("\n", " "), encoding="utf-8")


def prose(rng: random.Random, words: list[str], size: int) -> str:
    """Lines of up to 72 characters, paragraphs of some lines; common words come first, as in language."""
    out, line, total = [], "", 0
    while total < size:
        pick = words[min(len(words) - 1, int(len(words) * rng.random() ** 3))]
        if rng.random() < 0.09:
            pick += rng.choice([".", ",", ",", ";"])
        if len(line) + 1 + len(pick) > 72:
            out.append(line)
            total += len(line) + 1
            if rng.random() < 0.15:
                out.append("")
            line = pick
        else:
            line = f"{line} {pick}" if line else pick
    return "\n".join(out) + "\n"
