"""What can be wrong with what is beside the pixels? EXIF, ICC, XMP, texts and tags: broken, or beyond measure."""

from __future__ import annotations

import struct
from functools import partial

from bombs import Makers, deflated_zeros, gif_claim, saved
from containers import PNG_SIGNATURE, jpeg, jpeg_segment, png, png_chunk, tiff, webp, webp_chunk

LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x:xmpmeta>&b;</x:xmpmeta>'


def exif(*entries: tuple[int, int, int, int], next_page: int = 0, count: int | None = None) -> bytes:
    """An EXIF block, little-endian, of these (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    many = len(entries) if count is None else count
    return b"II*\0\x08\0\0\0" + struct.pack("<H", many) + body + struct.pack("<I", next_page)


def bad() -> Makers:
    """Broken and contradictory, but small."""
    blocks = {
        "empty": b"",
        "one-byte": b"I",
        "no-magic": b"XX*\0\x08\0\0\0",
        "offset-outside": b"II*\0\xff\xff\xff\xff",
        "offset-onto-itself": b"II*\0\0\0\0\0",
        "big-endian-lies": b"MM*\0\x08\0\0\0" + bytes(20),
        "orientation-0": exif((0x112, 3, 1, 0)),
        "orientation-9": exif((0x112, 3, 1, 9)),
        "orientation-text": exif((0x112, 2, 4, 0x36363636)),
        "orientation-many": exif((0x112, 3, 2**31, 8)),
        "orientation-rational": exif((0x112, 5, 1, 0)),
        "type-unknown": exif((0x112, 99, 1, 6)),
        "more-tags-than-bytes": exif((0x112, 3, 1, 6), count=65_535),
        "value-outside": exif((0x10F, 2, 2**32 - 1, 2**32 - 1), (0x112, 3, 1, 6)),
        "gps-onto-itself": exif((0x8825, 4, 1, 8), (0x8769, 4, 1, 8)),
        "pages-in-a-circle": exif((0x112, 3, 1, 6), next_page=8),
        "bigtiff": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(40),
        "noise": bytes(range(256)) * 8,
    }
    files: Makers = {}
    for name, block in blocks.items():
        files[f"exif-{name}.jpg"] = partial(jpeg, 16, 16, extra=jpeg_segment(0xE1, b"Exif\0\0" + block))
        files[f"exif-{name}.png"] = partial(png, 16, 16, bytes(300), before=png_chunk(b"eXIf", block))
        files[f"exif-{name}.webp"] = partial(webp_with, b"EXIF", block, 0x08)
    for name, chunk in {
        "icc-nothing": png_chunk(b"iCCP", b""),
        "icc-noise": png_chunk(b"iCCP", b"name\0\0" + bytes(range(256))),
        "icc-method": png_chunk(b"iCCP", b"name\0\x07" + bytes(9)),
        "text-no-key": png_chunk(b"tEXt", b"\0"),
        "text-method": png_chunk(b"zTXt", b"key\0\x07abc"),
        "itxt-short": png_chunk(b"iTXt", b"key"),
        "itxt-latin": png_chunk(b"iTXt", b"key\0\0\0\0\0\xff\xfe"),
        "raw-exif": png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  9\nzz zz"),
        "palette-odd": png_chunk(b"PLTE", bytes(5)),
        "palette-long": png_chunk(b"PLTE", bytes(3000)),
        "phys-short": png_chunk(b"pHYs", b"\0"),
        "gamma-short": png_chunk(b"gAMA", b""),
        "chrm-short": png_chunk(b"cHRM", b"\0\0"),
        "trns-long": png_chunk(b"tRNS", bytes(999)),
        "xmp-laughs": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LAUGHS),
        "bad-checksum": png_chunk(b"tEXt", b"a\0b")[:-1] + b"?",
        "length-2g": b"\x7f\xff\xff\xfftEXta\0b",
        "length-4g": b"\xff\xff\xff\xfftEXta\0b",
    }.items():
        files[f"{name}.png"] = partial(png, 16, 16, bytes(300), before=chunk)
    for name, segment in {
        "icc-no-number": jpeg_segment(0xE2, b"ICC_PROFILE\0"),
        "icc-of-255": jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(99)),
        "adobe-short": jpeg_segment(0xEE, b"Adobe"),
        "photoshop-lies": jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\x00\x00\xff\xff\xff\xff"),
        "mpf-lies": jpeg_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\xff\xff\xff\xff" + bytes(9)),
        "xmp-laughs": jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + LAUGHS),
        "jfif-short": jpeg_segment(0xE0, b"JFIF\0"),
        "length-0": b"\xff\xfe\x00\x00",
        "length-1": b"\xff\xfe\x00\x01",
        "table-16": jpeg_segment(0xDB, b"\x1f" + bytes(128)),
        "codes-overfull": jpeg_segment(0xC4, b"\x00" + b"\xff" * 16 + bytes(255)),
    }.items():
        files[f"{name}.jpg"] = partial(jpeg, 16, 16, extra=segment)
    for name, tag in {
        "software-4g": (305, 2, 2**32 - 1, 8),
        "bits-many": (258, 3, 2**20, 8),
        "samples-65535": (277, 3, 1, 65_535),
        "strips-none": (273, 4, 0, 0),
        "strip-outside": (273, 4, 1, 2**32 - 1),
        "strip-length-4g": (279, 4, 1, 2**32 - 1),
        "rows-0": (278, 4, 1, 0),
        "compression-unknown": (259, 3, 1, 31_337),
        "photometric-unknown": (262, 3, 1, 999),
        "palette-short": (320, 3, 3, 8),
        "width-float": (256, 12, 1, 8),
        "orientation-99": (274, 3, 1, 99),
        "icc-lies": (34_675, 7, 2**31, 8),
        "tile-0": (322, 4, 1, 0),
        "resolution-0": (282, 5, 1, 8),
    }.items():
        files[f"{name}.tif"] = partial(tiff, 4, 4, bytes(64), tags=[tag])
    return files


def storms() -> Makers:
    """More of it than of the picture: what parsing it costs must not grow with what is sent."""
    text = png_chunk(b"tEXt", b"k\0v")
    many_offsets = 2_000_000
    own = 8 + 64 + 2 + 12 * 9 + 4  # where what follows the tags of a `tiff` of 64 bytes begins
    return {
        "icc-bomb.png": lambda: png(
            16, 16, bytes(300), before=png_chunk(b"iCCP", b"n\0\0" + deflated_zeros(200_000_000))
        ),
        "ztxt-bomb.png": lambda: png(
            16, 16, bytes(300), before=png_chunk(b"zTXt", b"n\0\0" + deflated_zeros(200_000_000))
        ),
        "itxt-bomb.png": lambda: png(
            16, 16, bytes(300), before=png_chunk(b"iTXt", b"n\0\x01\0\0\0" + deflated_zeros(200_000_000))
        ),
        "itxt-bomb-behind.png": lambda: png(
            16, 16, bytes(300), after=png_chunk(b"iTXt", b"n\0\x01\0\0\0" + deflated_zeros(200_000_000))
        ),
        "ztxt-100-bombs.png": lambda: png(
            16, 16, bytes(300), before=png_chunk(b"zTXt", b"n\0\0" + deflated_zeros(1_000_000)) * 100
        ),
        "exif-behind-a-large-picture.png": lambda: png(
            5_000, 5_000, bytes(5_000 * 5_001), after=png_chunk(b"eXIf", exif((0x112, 3, 1, 6)))
        ),
        "texts.png": lambda: png(16, 16, bytes(300), before=text * 1_000_000),
        "texts-behind.png": lambda: png(16, 16, bytes(300), after=text * 1_000_000),
        "unknown-chunks.png": lambda: png(16, 16, bytes(300), before=png_chunk(b"abCd", b"") * 1_000_000),
        "chunk-of-100-mb.png": lambda: png(16, 16, bytes(300), before=png_chunk(b"abCd", bytes(100_000_000))),
        "headers.png": lambda: PNG_SIGNATURE + png(16, 16, bytes(300))[8:33] * 1_000_000,
        "comments.jpg": lambda: jpeg(16, 16, extra=jpeg_segment(0xFE, b"x") * 2_000_000),
        "applications.jpg": lambda: jpeg(16, 16, extra=jpeg_segment(0xE9, b"") * 2_000_000),
        "exif-in-1000-pieces.jpg": lambda: jpeg(16, 16, extra=jpeg_segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 1_000),
        "exif-65535-tags.jpg": lambda: jpeg(
            16, 16, extra=jpeg_segment(0xE1, b"Exif\0\0" + exif(*((tag, 3, 1, 6) for tag in range(5_000))))
        ),
        "icc-in-2000-pieces.jpg": lambda: jpeg(
            16, 16, extra=jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(40_000)) * 2_000
        ),
        "padding.jpg": lambda: jpeg(16, 16, extra=b"\xff" * 20_000_000 + jpeg_segment(0xFE, b"x")),
        "comments.gif": lambda: gif_with(b"!\xfe" + (b"\xff" + b"x" * 255) * 100_000 + b"\0"),
        "small-comments.gif": lambda: gif_with(b"!\xfe\x01x\0" * 2_000_000),
        "control-blocks.gif": lambda: gif_with(b"!\xf9\x04\0\0\0\0\0" * 1_000_000),
        "strips.tif": lambda: tiff(
            4, 4, bytes(64), tags=[(273, 4, many_offsets, own), (278, 4, 1, 1)], after=bytes(4 * many_offsets)
        ),
        "tiles.tif": lambda: tiff(
            6_000,
            6_000,
            bytes(64),
            tags=[(322, 4, 1, 1), (323, 4, 1, 1), (324, 4, many_offsets, own + 36), (325, 4, 1, 64)],
            after=bytes(4 * many_offsets),
        ),
        "tags.tif": lambda: big_tiff_tags(2_000_000),
        "text-of-100-mb.tif": lambda: tiff(4, 4, bytes(64), tags=[(305, 2, 100_000_000, 8)], after=bytes(100_000_000)),
        "boxes.jp2": lambda: jp2_boxes(4_000_000),
        "directory.ico": lambda: (
            struct.pack("<HHH", 0, 1, 65_535) + struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, 99, 22) * 65_535
        ),
        "comment.ppm": lambda: b"P6\n#" + b"x" * 20_000_000 + b"\n2 2 255\n" + bytes(12),
        "comments.ppm": lambda: b"P6\n" + b"#x\n" * 5_000_000 + b"2 2 255\n" + bytes(12),
        "xmp-of-50-mb.webp": lambda: webp_with(b"XMP ", LAUGHS + b" " * 50_000_000, 0x04),
        "chunks.webp": lambda: webp_with(b"abcd", b"", 0, many=5_000_000),
    }


def webp_with(kind: bytes, body: bytes, flag: int, many: int = 1) -> bytes:
    """An extended WebP with a chunk behind its picture."""
    still = saved("RGB", (8, 8), "WEBP", lossless=True)[12:]
    head = webp_chunk(b"VP8X", bytes((flag, 0, 0, 0)) + b"\x07\0\0\x07\0\0")
    return webp(head + still + webp_chunk(kind, body) * many)


def gif_with(blocks: bytes) -> bytes:
    """A GIF with these blocks in front of its picture."""
    data = gif_claim(8, 8)
    at = data.index(b",")
    return data[:at] + blocks + data[at:]


def big_tiff_tags(count: int) -> bytes:
    """A BigTIFF with so many tags."""
    entries = b"".join(struct.pack("<HHQQ", tag % 65_536, 3, 1, 1) for tag in range(count))
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, count) + entries + bytes(8)


def jp2_boxes(count: int) -> bytes:
    """A JPEG 2000 file with so many empty boxes in its header."""
    boxes = b"\0\0\0\x08free" * count
    header = struct.pack(">I4s", 8 + len(boxes), b"jp2h") + boxes
    return b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + header
