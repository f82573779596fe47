"""How do the pixels in a file become upright 8-bit RGB? Orientation and sample formats, for `source`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PIL import Image

BAND = 2**20  # pixels that are converted at a time
_ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # its value -> how the stored pixels are turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(header: Image.Image, data: bytes) -> int:
    """The EXIF orientation, 1 (upright) to 8, read from the header alone."""
    if header.format == "TIFF":
        return 1  # Pillow turns TIFF upright itself
    if header.format == "PNG" and "exif" not in header.info and b"eXIf" not in data:
        return 1  # Pillow would decode the whole PNG to look for EXIF behind the pixels
    try:
        value = header.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata, which say nothing of the pixels: viewers show such files as stored
        return 1
    return value if value in UPRIGHT else 1


def stored_corners(
    corners: tuple[float, float, float, float], size: tuple[int, int], turned: int
) -> tuple[float, float, float, float]:
    """A window on the upright image (of `size`) as the window on the pixels as they are stored."""
    width, height = size
    stored: dict[int, Callable[[float, float], tuple[float, float]]] = {
        1: lambda x, y: (x, y),
        2: lambda x, y: (width - x, y),
        3: lambda x, y: (width - x, height - y),
        4: lambda x, y: (x, height - y),
        5: lambda x, y: (y, x),
        6: lambda x, y: (y, width - x),
        7: lambda x, y: (height - y, width - x),
        8: lambda x, y: (height - y, x),
    }
    ax, ay = stored[turned](corners[0], corners[1])
    bx, by = stored[turned](corners[2], corners[3])
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: deeper samples are scaled (Pillow alone cuts them off), alpha goes on white.

    Band by band: what lies between one mode and the other would otherwise hold the picture up to four times more.
    """
    image.load()
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    top = _top(image) if image.mode in ("I", "F") else 0.0
    rgb = Image.new("RGB", image.size)
    high = max(1, BAND // image.width)
    for y in range(0, image.height, high):
        rgb.paste(_band(image.crop((0, y, image.width, min(y + high, image.height))), top), (0, y))
    return rgb


def _top(image: Image.Image) -> float:
    """What is white. 32-bit samples have no agreed range: the smallest usual maximum that holds them."""
    high = cast(tuple[float, float], image.getextrema())[1]
    usual = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    return next((top for top in usual if high <= top), high)


def _band(image: Image.Image, top: float) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda sample: sample * (1 / 256)).convert("L")
    elif image.mode in ("I", "F"):
        image = image.convert("F").point(lambda sample: sample * (255 / top) + 0.0).convert("L")
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
