"""How far pictures are from each other."""

import io
import math
from pathlib import Path

from PIL import Image, ImageChops, ImageCms, ImageMath, ImageOps, ImageStat

# Twice as many are refused: what a header alone can claim would take all memory.
Image.MAX_IMAGE_PIXELS = 100_000_000

# What is printed for equal pictures, whose PSNR is infinite.
EXACT = 99.0


def upright(path: Path) -> Image.Image:
    """The picture as it is looked at: turned by its EXIF, in 8 bits of sRGB or RGBA, alpha laid over white."""
    picture = ImageOps.exif_transpose(Image.open(path))
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):
        picture = eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return in_srgb(picture, profile)


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours that the numbers stand for; the numbers themselves where the profile is damaged or of other channels."""
    if picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return picture.convert("RGB")


def eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips at 255, and takes no notice of its clear value."""
    clear = picture.info.pop("transparency", None)
    samples = list(picture.getdata())
    grey = Image.frombytes("L", picture.size, bytes(min(255, (value + 128) // 257) for value in samples))
    if clear is not None:
        grey.putalpha(Image.frombytes("L", picture.size, bytes(255 * (value != clear) for value in samples)))
    return grey


def ssim_of(one: Image.Image, other: Image.Image) -> float | None:
    """Structural similarity of the lightness, by blocks of 8 x 8 (Wang, Bovik, Sheikh and Simoncelli, 2004).

    Blocks instead of a Gaussian window: means of blocks are what Pillow computes fast. None where the
    dimensions differ, or where a picture is smaller than a block.
    """
    if one.size != other.size or min(one.size) < 8:
        return None
    size = (one.width // 8, one.height // 8)
    box = (0, 0, size[0] * 8, size[1] * 8)
    first, second = (picture.convert("L").crop(box).convert("F") for picture in (one, other))
    mean = lambda picture: list(picture.resize(size, Image.Resampling.BOX).getdata())
    product = lambda left, right: mean(ImageMath.lambda_eval(lambda of: of["a"] * of["b"], a=left, b=right))
    means = zip(mean(first), mean(second), product(first, first), product(second, second), product(first, second))
    # The constants of the paper, for samples of 8 bits.
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for x, y, xx, yy, xy in means:
        shared = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
        values.append(shared / ((x * x + y * y + c1) * (max(0.0, xx - x * x) + max(0.0, yy - y * y) + c2)))
    return sum(values) / len(values)


def psnr(first: Path, second: Path) -> float | None:
    """Peak signal to noise ratio in dB over red, green and blue; None where the dimensions differ."""
    return psnr_of(upright(first), upright(second))


def psnr_of(one: Image.Image, other: Image.Image) -> float | None:
    if one.size != other.size:
        return None
    squares = sum(ImageStat.Stat(ImageChops.difference(one, other)).sum2)
    mean = squares / (one.width * one.height * 3)
    return EXACT if mean == 0 else min(EXACT, 10 * math.log10(255 * 255 / mean))
