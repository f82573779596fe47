"""The photograph that is asked about: some detail everywhere, so that decoding it costs what a photograph costs."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def photograph(path: Path, size: tuple[int, int]) -> Path:
    """Write a photograph of `size`, as JPEG (quality 90) or PNG by the ending of `path`, and give the path back."""
    shapes = Image.merge(
        "RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90)]
    ).resize(size, Image.Resampling.BICUBIC)
    noise = Image.effect_noise(size, 40).convert("RGB")
    Image.blend(shapes, noise, 0.12).save(path, quality=90)
    return path


def region(path: Path, box: list[int]) -> bytes:
    """A region of it, in thousandths of its sides, as anybody would cut it out: a JPEG of quality 90."""
    with Image.open(path) as image:
        x0, y0, x1, y1 = box
        width, height = image.size
        crop = image.crop((x0 * width // 1000, y0 * height // 1000, x1 * width // 1000, y1 * height // 1000))
    file = io.BytesIO()
    crop.save(file, "JPEG", quality=90)
    return file.getvalue()
