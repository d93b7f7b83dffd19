"""How far pictures are from each other."""

import math
from pathlib import Path

from PIL import Image, ImageChops, ImageOps, ImageStat

Image.MAX_IMAGE_PIXELS = None

# What is printed for equal pictures, whose PSNR is infinite.
EXACT = 99.0


def upright(path: Path) -> Image.Image:
    """The picture as it is looked at: turned by its EXIF, in 8 bits of sRGB or RGBA, alpha laid over white."""
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode.startswith("I"):
        picture = eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips at 255, and takes no notice of its clear value."""
    clear = picture.info.pop("transparency", None)
    samples = list(picture.getdata())
    grey = Image.frombytes("L", picture.size, bytes(min(255, (value + 128) // 257) for value in samples))
    if clear is not None:
        grey.putalpha(Image.frombytes("L", picture.size, bytes(255 * (value != clear) for value in samples)))
    return grey


def psnr(first: Path, second: Path) -> float | None:
    """Peak signal to noise ratio in dB over red, green and blue; None where the dimensions differ."""
    return psnr_of(upright(first), upright(second))


def psnr_of(one: Image.Image, other: Image.Image) -> float | None:
    if one.size != other.size:
        return None
    squares = sum(ImageStat.Stat(ImageChops.difference(one, other)).sum2)
    mean = squares / (one.width * one.height * 3)
    return EXACT if mean == 0 else min(EXACT, 10 * math.log10(255 * 255 / mean))
