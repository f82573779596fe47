"""Is this file safe to give to a decoder? What is looked at beside its pixels: pieces, scans, strips, frames, icons.

A header may cost more than the picture: a million comments, each parsed in Python; a strip for every byte; a thousand
scans over the same pixels. Each is bounded here, before the decoder sees it or while it reads.
"""

from __future__ import annotations

import io
import re
import struct

from PIL import Image

from .errors import ImageError
from .image_limits import ImageLimits

PIECES = 5_000
"""Reads of the file until its size is known, and, beside one a kilobyte, for its pixels: Pillow reads pieces."""
HEADER_BYTES = 16 * 2**20
"""Of metadata in front of the pixels (in TIFF they are where they like); Pillow copies some of it again and again."""
SCANS = 100
"""Passes over a JPEG's pixels; a progressive one has about ten."""
PARTS = 100_000
"""Strips or tiles of a TIFF, and the numbers in its tag of them: each becomes a Python object."""
TAGS = 4096
"""Of a TIFF's first page."""
WHOLE = 12.0
"""The least bytes a pixel that `bytes_per_pixel` says of what is always decoded whole: half of the pixels."""
SLOW_CODECS = ("ppm_plain", "ppm", "bmp_rle")
"""Pillow's decoders that are written in Python: pixel by pixel, hundreds of times slower."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class Metered(io.BytesIO):
    """A file's bytes, of which only so many pieces are read. Beyond, reading raises `ImageError`."""

    def __init__(self, data: bytes, label: str) -> None:
        super().__init__(data)
        self._label = label
        self._length = len(data)
        self._pieces = PIECES
        self._bytes = self._length if data[:2] in (b"II", b"MM") else HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        self._pieces -= 1
        if size is not None and size > 0:
            self._bytes -= min(size, self._length - self.tell())
        if self._pieces < 0 or self._bytes < 0:
            raise ImageError(
                f"{self._label} is damaged or unsupported (more metadata, or smaller pieces, than any picture needs): "
                "save it anew as JPEG or PNG"
            )
        return super().read(size)

    def allow_pixels(self, slow: bool) -> None:
        """The header is read; now the pixels may be."""
        self._pieces = PIECES + (2_000_000 if slow else self._length // 1024)
        self._bytes = 4 * self._length + HEADER_BYTES


def check_file(data: bytes, label: str, limits: ImageLimits) -> None:
    """What Pillow would take literally as soon as it opens the file. Raises `ImageError`."""
    if data[:4] == b"\0\0\1\0":
        _check_icon(data, label, limits)
    if data[:2] in (b"II", b"MM"):
        _check_tags(data, label)
    if data[:4] == b"RIFF":
        _check_chunks(data, label, PIECES + 2 * limits.max_frames)


def check_header(header: Image.Image, data: bytes, label: str, limits: ImageLimits) -> None:
    """Whether the opened image may be decoded: pixels for what they cost, frames, scans. Raises `ImageError`."""
    width, height = header.size
    limits.check_pixels(label, width, height)
    scans = jpeg_scans(data) if header.format in ("JPEG", "MPO") else 1
    if header.info.get("progressive"):
        scans = max(scans, 2)  # what is decoded as if more were to come holds the same
    if scans > SCANS:
        raise _damaged(label, f"more than {SCANS} scans")
    if header.format in ("PNG", "WEBP", "AVIF"):  # the others would have to be read to the end to know
        limits.check_frames(label, getattr(header, "n_frames", 1))
    limits.check_pixels(label, width, height, bytes_per_pixel(header, scans), _encoding(header, scans))


def is_slow(header: Image.Image) -> bool:
    """Whether the decoder is written in Python."""
    return any(tile[0] in SLOW_CODECS for tile in getattr(header, "tile", ()))


def bytes_per_pixel(header: Image.Image, scans: int) -> float:
    """About what decoding to RGB holds for each pixel, the decoder's own included; more where it takes long instead.

    Only a JPEG of one scan can be decoded small for a small look: of the rest, every look goes through every pixel.
    """
    mode = header.mode
    stored = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4
    rgb = 0 if mode == "RGB" else 4
    if is_slow(header):
        return 50 * 6.0
    match header.format:
        case "WEBP" | "AVIF" | "JPEG2000":
            return 18.0  # canvases, planes or samples of 32 bits, and their bytes; AVIF and JPEG 2000 take long as well
        case "JPEG" | "MPO" if scans > 1:
            sides = [(h, v) for _, h, v, _ in getattr(header, "layer", ())]
            most = max((h for h, _ in sides), default=1) * max((v for _, v in sides), default=1)
            coefficients: float = 2 * sum(h * v for h, v in sides) / most  # of 16 bits, of every block
            return max(WHOLE, stored + rgb + coefficients)
        case "JPEG" | "MPO":
            return stored + rgb
        case "TIFF":
            return max(WHOLE, stored + rgb + 2 * len(header.getbands()))  # strips as they are stored, and packed
        case _:
            return WHOLE


def jpeg_scans(data: bytes) -> int:
    """How many scans the first image of a JPEG file has; the count ends at `SCANS` + 1."""
    scans, at = 0, 2
    for _ in range(2 * PIECES):
        found = _MARKER.search(data, at)
        if found is None:
            return scans
        at, marker = found.end(), data[found.end() - 1]
        if marker == 0xD9:
            return scans
        if marker in (0x01, 0xD8):  # stand alone, without a length
            continue
        at += int.from_bytes(data[at : at + 2], "big")
        if marker == 0xDA:
            scans += 1
            if scans > SCANS or (scans == 1 and data.find(b"\xff\xda", at) < 0):
                return scans
    return SCANS + 1


def _encoding(header: Image.Image, scans: int) -> str:
    what = "a progressive " if scans > 1 else "a plain or run-length encoded " if is_slow(header) else ""
    return f"{what}{header.format} of mode {header.mode}"


def _damaged(label: str, what: str) -> ImageError:
    return ImageError(f"{label} is damaged or unsupported ({what}): save it anew as JPEG or PNG")


def _check_icon(data: bytes, label: str, limits: ImageLimits) -> None:
    """Pillow decodes an icon as soon as it is opened, whatever the pictures in it say of their sizes."""
    count = int.from_bytes(data[4:6], "little")
    if count > 256:
        raise _damaged(label, f"an icon of {count:,} pictures")
    for at in range(6, 6 + 16 * count, 16):
        start = int.from_bytes(data[at + 12 : at + 16], "little")
        picture = data[start : start + 24]
        if picture[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
        else:
            width, height = int.from_bytes(picture[4:8], "little"), int.from_bytes(picture[8:12], "little") // 2
        if width * height > limits.pixels_at(0) // 50:
            raise limits.too_many_pixels(label, f" ({width} x {height})", 50 * 6.0, "an icon")


def _check_chunks(data: bytes, label: str, most: int) -> None:
    """The chunks of a WebP, of which its decoder makes a list each time."""
    at, count = 12, 0
    while at < len(data):
        count += 1
        if count > most:
            raise _damaged(label, f"more than {most:,} chunks")
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def _check_tags(data: bytes, label: str) -> None:
    """The tags of a TIFF's first page: how many, and how many strips and tiles they speak of."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        if count > TAGS:
            raise _damaged(label, f"{count:,} tags")
        for entry in range(count):
            where = at + (8 if big else 2) + entry * (20 if big else 12)
            tag, _, many = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, where)
            if tag in (258, 273, 279, 324, 325) and many > PARTS:
                raise _damaged(label, f"{many:,} strips or tiles")
    except struct.error:  # it ends here: the decoder will say so
        return
