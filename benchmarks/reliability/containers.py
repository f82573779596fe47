"""How are image files laid out? Just enough of each format to write, by hand, what no encoder would."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and its checksum."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png_header(width: int, height: int, depth: int = 8, colour: int = 0, interlaced: bool = False) -> bytes:
    """Signature and IHDR. `colour`: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    return PNG_SIGNATURE + png_chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    )


def png(
    width: int,
    height: int,
    rows: bytes,
    *,
    depth: int = 8,
    colour: int = 0,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG of these filtered rows, with chunks `before` and `after` them."""
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return png_header(width, height, depth, colour, interlaced) + before + pixels + after + png_chunk(b"IEND", b"")


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """A marker with its length."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def jpeg(
    width: int, height: int, *, components: int = 1, progressive: bool = False, scans: int = 1, extra: bytes = b""
) -> bytes:
    """A JPEG all of one grey, its blocks three bytes for four; `extra` segments in front.

    Progressive, `scans` passes over the same coefficients follow, of a few bytes each, that change nothing.
    """
    ids = range(1, components + 1)
    frame = struct.pack(">BHHB", 8, height, width, components) + b"".join(bytes((each, 0x11, 0)) for each in ids)
    # The DC codes: '0' for no difference. The AC codes: '0' for end of block, or of the next 16,384 to 32,767 blocks.
    tables = jpeg_segment(0xDB, b"\x00" + b"\x01" * 64)
    tables += jpeg_segment(0xC4, b"\x00" + b"\x01" + bytes(15) + b"\x00")
    tables += jpeg_segment(0xC4, b"\x10" + b"\x01" + bytes(15) + (b"\xe0" if progressive else b"\x00"))
    start = b"\xff\xd8" + extra + tables + jpeg_segment(0xC2 if progressive else 0xC0, frame)
    blocks = -(-width // 8) * -(-height // 8)
    every = bytes((components,)) + b"".join(bytes((each, 0)) for each in ids)
    bits = blocks * components * (1 if progressive else 2)
    body = jpeg_segment(0xDA, every + (b"\x00\x00\x00" if progressive else b"\x00\x3f\x00")) + bytes(-(-bits // 8))
    if progressive:
        runs = -(-blocks // 16_384)
        # '0' and fourteen bits of 0: a run of 16,384 blocks without coefficients.
        once = jpeg_segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + bytes(-(-runs * 15 // 8))
        body += once * (scans - 1)
    return start + body + b"\xff\xd9"


def bmp(width: int, height: int, pixels: bytes, *, runs: bool = False) -> bytes:
    """A BMP of 24 bits, or of 8 bits in runs."""
    depth, palette = (8, bytes(1024)) if runs else (24, b"")
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, int(runs), len(pixels), 0, 0, 256 if runs else 0, 0)
    at = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + info + palette + pixels


def tiff(
    width: int,
    height: int,
    pixels: bytes,
    *,
    compression: int = 1,
    samples: int = 1,
    tags: Sequence[tuple[int, int, int, int]] = (),
    after: bytes = b"",
) -> bytes:
    """A TIFF of one strip, little-endian; `tags` (tag, type, count, value) replace or add to its own."""
    own = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 2 if samples >= 3 else 1),
        273: (4, 1, 8),
        277: (3, 1, samples),
        278: (4, 1, height),
        279: (4, 1, len(pixels)),
        **{tag: (kind, count, value) for tag, kind, count, value in tags},
    }
    entries = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(own.items()))
    at = 8 + len(pixels)
    return b"II*\0" + struct.pack("<I", at) + pixels + struct.pack("<H", len(own)) + entries + bytes(4) + after


def webp(chunks: bytes) -> bytes:
    """A RIFF file of these chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def webp_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length, of an even number of bytes."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
