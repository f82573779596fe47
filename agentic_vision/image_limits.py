"""How large may an image be? `ImageLimits`: pixels, bytes and frames, set in the environment for every process."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import ConfigError, ImageError

PREFIX = "AGENTIC_VISION_"
CHEAP = 6.0
"""Bytes a pixel that a decoder may hold at `max_pixels`: 300 MB at the default. See `screening.bytes_per_pixel`."""


@dataclass(frozen=True)
class ImageLimits:
    """What is let in. Each is read from an environment variable: `AGENTIC_VISION_MAX_PIXELS` and so on.

    `max_pixels`: width x height of a JPEG that is not progressive. Of what takes more to decode, fewer are let in:
    half of them for PNG, GIF, BMP and most TIFF, a third for WebP, AVIF and JPEG 2000, a fiftieth for icons and for
    what Pillow decodes in Python (`screening.bytes_per_pixel`). `max_image_bytes`: of a file, or of a `data:` URI
    (of what is fetched, `UrlRules.max_bytes` as well).
    `max_frames`: that an animation says it has, of which only the first is ever decoded.
    """

    max_pixels: int = 50_000_000
    max_image_bytes: int = 128 * 2**20
    max_frames: int = 10_000

    @classmethod
    def current(cls) -> ImageLimits:
        """The limits that hold now. Raises `ConfigError` for a variable that is no number above 0."""
        return cls(
            **{name: from_environment(name) for name in cls.__dataclass_fields__ if PREFIX + name.upper() in os.environ}
        )

    def check_pixels(self, label: str, width: int, height: int, held: float = 0, encoding: str = "") -> None:
        """Raises `ImageError` for nothing, and for too much; `held`: bytes that decoding holds for each pixel."""
        if width < 1 or height < 1:
            raise ImageError(f"{label} has no pixels ({width} x {height}): give an image of at least 1 x 1")
        if width * height > self.pixels_at(held):
            raise self.too_many_pixels(label, f" ({width} x {height})", held, encoding)

    def pixels_at(self, held: float) -> int:
        """`max_pixels` for what holds so many bytes a pixel."""
        return int(self.max_pixels * min(1.0, CHEAP / max(held, CHEAP)))

    def too_many_pixels(self, label: str, size: str = "", held: float = 0, encoding: str = "") -> ImageError:
        """The error that says so."""
        kind = f" that are let in as {encoding}" if self.pixels_at(held) < self.max_pixels and encoding else ""
        return ImageError(
            f"{label} has more than {self.pixels_at(held):,} pixels{kind}{size}: give a smaller copy of it"
            + _or_raise("max_pixels")
        )

    def check_bytes(self, label: str, length: int) -> None:
        """Raises `ImageError` for too many, and for none."""
        if not length:
            raise ImageError(f"{label} is empty (0 bytes): give an image file")
        if length > self.max_image_bytes:
            raise ImageError(
                f"{label} has more than {self.max_image_bytes:,} bytes: give a smaller copy of it"
                + _or_raise("max_image_bytes")
            )

    def check_frames(self, label: str, frames: int) -> None:
        """Raises `ImageError` for too many."""
        if frames > self.max_frames:
            raise ImageError(
                f"{label} has {frames:,} frames, more than {self.max_frames:,}: give the one that matters"
                + _or_raise("max_frames")
            )


def _or_raise(name: str) -> str:
    return f", or raise {PREFIX}{name.upper()}"


def from_environment(name: str) -> int:
    """The limit of this name. Raises `ConfigError` for a variable that is no number above 0, `KeyError` for none."""
    variable = PREFIX + name.upper()
    given = os.environ[variable]
    if not given.isascii() or not given.isdecimal() or int(given[:19]) < 1:
        raise ConfigError(f"{variable}={given!r} is no number above 0: write it in digits, or leave it out")
    return int(given[:19])
