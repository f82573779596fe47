"""Which small files decode to large pictures, or slowly? Claims, and files that keep what they claim."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

from containers import bmp, jpeg, png, png_chunk, png_header, tiff, webp, webp_chunk
from PIL import Image, features

Makers = dict[str, Callable[[], bytes]]

HUGE = 60_000  # pixels a side


def deflated_zeros(length: int) -> bytes:
    """So many zeros as zlib has them, made without holding them."""
    packer, piece = zlib.compressobj(6), bytes(2**20)
    out = [packer.compress(piece) for _ in range(length // len(piece))]
    return b"".join((*out, packer.compress(bytes(length % len(piece))), packer.flush()))


def png_zeros(width: int, height: int, *, depth: int = 8, colour: int = 0, interlaced: bool = False) -> bytes:
    """A PNG that really has so many pixels, all 0."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = height * (1 + (width * channels * depth + 7) // 8)
    palette = png_chunk(b"PLTE", bytes(6)) + png_chunk(b"tRNS", b"\x00\x80") if colour == 3 else b""
    pixels = png_chunk(b"IDAT", deflated_zeros(rows * 5 // 4 if interlaced else rows))
    return png_header(width, height, depth, colour, interlaced) + palette + pixels + png_chunk(b"IEND", b"")


def tiff_zeros(width: int, height: int, samples: int) -> bytes:
    """A TIFF, deflated in one strip."""
    return tiff(
        width,
        height,
        deflated_zeros(width * height * samples),
        compression=8,
        samples=samples,
        tags=[] if samples < 4 else [(338, 3, 1, 2)],
    )


def saved(mode: str, size: tuple[int, int], kind: str, **options: object) -> bytes:
    """A picture of nothing, as the encoder writes it."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def claims() -> Makers:
    """Headers that say 60,000 x 60,000 and more, with hardly anything behind them."""
    files: Makers = {}
    for width, height in ((HUGE, HUGE), (65_535, 65_535), (9_000, 9_000)):
        size = f"{width}x{height}"
        files |= {
            f"{size}.jpg": partial(jpeg_claim, width, height),
            f"{size}-progressive.jpg": partial(jpeg_claim, width, height, 0xC2),
            f"{size}.gif": partial(gif_claim, width, height),
            f"{size}.bmp": partial(bmp, width, height, bytes(100)),
            f"{size}-runs.bmp": partial(bmp, width, height, b"\xff\x00" * 50, runs=True),
            f"{size}.tif": partial(tiff, width, height, bytes(100), samples=3),
            f"{size}-lzw.tif": partial(tiff, width, height, bytes(100), samples=3, compression=5),
            f"{size}.png": partial(png, width, height, bytes(100), colour=6),
            f"{size}.pbm": partial(bytes, b"P4 %d %d\n" % (width, height)),
            f"{size}.ppm": partial(bytes, b"P6 %d %d 255\n" % (width, height)),
            f"{size}.pgm": partial(bytes, b"P2 %d %d 255\n1 2 3" % (width, height)),
            f"{size}.j2k": partial(j2k_claim, width, height),
            f"{size}.ico": partial(ico_of, png(width, height, bytes(100), colour=6)),
        }
    files |= {
        "2147483647.png": partial(png, 2**31 - 1, 2**31 - 1, bytes(100)),
        "4294967295.png": partial(png, 2**32 - 1, 2**32 - 1, bytes(100)),
        "2147483647.bmp": partial(bmp, 2**31 - 1, 2**31 - 1, bytes(100)),
        "4294967295.tif": partial(tiff, 2**32 - 1, 2**32 - 1, bytes(100)),
        "digits.ppm": partial(bytes, b"P6 " + b"9" * 100_000 + b" 3 255\n"),
        "16383.webp": partial(webp_claim, 16_383, 16_383),
        "16777216.webp": partial(webp_claim, 2**24, 2**24),
        "tiles.j2k": partial(j2k_claim, 6_000, 6_000, 1),
        "components.j2k": partial(j2k_claim, 4_000, 4_000, 4_000, 16_384),
    }
    return files


def real() -> Makers:
    """Files of a few kilobytes that keep what they claim: around the default limits, below and above."""
    files: Makers = {
        f"{side}-{name}.png": partial(png_zeros, side, side, **options)
        for side in (4_000, 5_700, 6_900, 9_000)
        for name, options in {
            "grey": {},
            "rgb": {"colour": 2},
            "rgba": {"colour": 6},
            "palette": {"colour": 3},
            "deep": {"depth": 16},
            "deep-rgba": {"depth": 16, "colour": 6},
            "grey-alpha": {"colour": 4},
        }.items()
    }
    files["bits.png"] = partial(png_zeros, 7_000, 7_000, depth=1)
    files["interlaced.png"] = partial(png_zeros, 5_700, 5_700, colour=6, interlaced=True)
    for side in (4_000, 5_700, 7_000):
        for components in (1, 3, 4):
            files[f"{side}-{components}.jpg"] = partial(jpeg, side, side, components=components)
            files[f"{side}-{components}-progressive.jpg"] = partial(
                jpeg, side, side, components=components, progressive=True
            )
            files[f"{side}-{components}.tif"] = partial(tiff_zeros, side, side, components)
        files[f"{side}-runs.bmp"] = partial(bmp, side, side, b"\x00\x01", runs=True)
        files[f"{side}.gif"] = partial(gif_claim, side, side)
    for side in (4_000, 5_500):
        files[f"{side}-lossy.webp"] = partial(saved, "RGB", (side, side), "WEBP", method=0)
        files[f"{side}-lossless.webp"] = partial(saved, "RGBA", (side, side), "WEBP", method=0, lossless=True)
        if features.check("avif"):
            files[f"{side}.avif"] = partial(saved, "RGB", (side, side), "AVIF", speed=10)
        if features.check("jpg_2000"):
            files[f"{side}.jp2"] = partial(saved, "RGB", (side, side), "JPEG2000")
    files["icon-of-8000.ico"] = lambda: ico_of(png_zeros(8_000, 8_000, colour=6))
    files["icon-of-12000.ico"] = lambda: ico_of(png_zeros(12_000, 12_000))
    return files


def slow() -> Makers:
    """Few pixels, or allowed ones, that take long: many scans, many pieces, decoders written in Python."""
    return {
        "scans-20000.jpg": partial(jpeg, 2_800, 2_800, progressive=True, scans=20_000),
        "scans-300.jpg": partial(jpeg, 5_600, 5_600, progressive=True, scans=300),
        "hidden-scans.jpg": lambda: jpeg(
            2_800, 2_800, progressive=True, scans=20_000, extra=b"\xff\xfe\x00\x04\xff\xd9"
        ),
        "pieces.png": lambda: (
            png_header(1_000, 1_000, colour=2)
            + b"".join(png_chunk(b"IDAT", bytes((byte,))) for byte in zlib.compress(bytes(3_001_000), 0)[:1_000_000])
        ),
        "numbers.ppm": lambda: b"P3 3000 3000 255\n" + b"1 " * 27_000_000,
        "bits.pbm": lambda: b"P1 6000 6000\n" + b"1" * 36_000_000,
        "depth.ppm": lambda: b"P6 3000 3000 77\n" + bytes(27_000_000),
        "runs.bmp": lambda: bmp(4_000, 4_000, b"\x01\x07" * 16_000_000, runs=True),
        "noise-rows.png": lambda: png(6_000, 4_000, (b"\x04" + bytes(range(250)) * 72) * 4_000, colour=2),
    }


def animations() -> Makers:
    """Frames by the ten thousand, and counts of frames that are not there."""
    gif = gif_claim(8, 8)
    frame = gif[gif.index(b",") : -1]
    still = saved("RGB", (8, 8), "WEBP", lossless=True)[12:]
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
    control = struct.pack(">IIIIHHBB", 8, 8, 0, 0, 1, 100, 0, 0)
    files: Makers = {
        "100000-frames.gif": lambda: gif[:-1] + frame * 100_000 + b";",
        "large-second-frame.gif": lambda: gif[:-1] + gif_claim(60_000, 60_000)[13:],
        "20000-frames.webp": lambda: webp_frames(still, 20_000),
        "200000-frames.webp": lambda: webp_frames(still, 200_000),
        "20000-frames.png": lambda: (
            png_header(8, 8)
            + png_chunk(b"acTL", struct.pack(">II", 20_000, 0))
            + png_chunk(b"fcTL", bytes(4) + control)
            + pixels
            + b"".join(
                png_chunk(b"fcTL", struct.pack(">I", 2 * at + 1) + control)
                + png_chunk(b"fdAT", struct.pack(">I", 2 * at + 2) + zlib.compress(bytes(72)))
                for at in range(20_000)
            )
            + png_chunk(b"IEND", b"")
        ),
        "20000-pages.tif": lambda: tiff_pages(20_000),
        "pages-in-a-circle.tif": lambda: tiff_circle(),
    }
    for frames in (0, 1, 2**31 - 1, 2**32 - 1):
        files[f"claims-{frames}.png"] = partial(
            png, 8, 8, bytes(72), before=png_chunk(b"acTL", struct.pack(">II", frames, 0))
        )
    if features.check("avif"):
        files["60-frames.avif"] = lambda: saved(
            "RGB",
            (64, 64),
            "AVIF",
            save_all=True,
            append_images=[Image.new("RGB", (64, 64), (at, 0, 0)) for at in range(60)],
        )
    return files


def jpeg_claim(width: int, height: int, frame: int = 0xC0) -> bytes:
    """A tiny JPEG that says it is so large."""
    data = jpeg(8, 8, components=3, progressive=frame == 0xC2)
    at = data.index(bytes((0xFF, frame, 0)))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def gif_claim(width: int, height: int) -> bytes:
    """A GIF whose canvas and frame are so large, of which a pixel is there."""
    sides = struct.pack("<HH", width, height)
    return b"GIF89a" + sides + b"\x80\x00\x00" + bytes(6) + b"," + bytes(4) + sides + b"\x00\x02\x02\x4c\x01\x00;"


def webp_claim(width: int, height: int) -> bytes:
    """An extended WebP with a canvas so large and a tiny picture."""
    still = saved("RGB", (8, 8), "WEBP", lossless=True)[12:]
    canvas = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(webp_chunk(b"VP8X", canvas) + still)


def webp_frames(still: bytes, count: int) -> bytes:
    """An animation that repeats a picture of 8 x 8."""
    frame = webp_chunk(b"ANMF", bytes(6) + b"\x07\0\0\x07\0\0\x0a\0\0\0" + still)
    head = webp_chunk(b"VP8X", b"\x02\0\0\0\x07\0\0\x07\0\0") + webp_chunk(b"ANIM", bytes(6))
    return webp(head + frame * count)


def j2k_claim(width: int, height: int, tile: int = HUGE, components: int = 3) -> bytes:
    """A JPEG 2000 codestream with only its size marker."""
    body = (
        struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile, tile, 0, 0, components) + b"\x07\x01\x01" * components
    )
    coding = b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01"
    quantised = b"\xff\x5c\x00\x13\x40" + bytes(16)
    return (
        b"\xff\x4f\xff\x51"
        + struct.pack(">H", len(body) + 2)
        + body
        + coding
        + quantised
        + b"\xff\x90\x00\x0a"
        + bytes(8)
    )


def ico_of(picture: bytes) -> bytes:
    """An icon that says 32 x 32 and holds this PNG."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(picture), 22) + picture


def tiff_pages(count: int) -> bytes:
    """A TIFF of many pages, each of which is the same pixel."""
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1), (279, 1)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    size = len(body) + 4
    pages = (body + struct.pack("<I", 8 + size * (at + 1) if at + 1 < count else 0) for at in range(count))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def tiff_circle() -> bytes:
    """A TIFF whose only page is followed by itself."""
    data = tiff(4, 4, bytes(16))
    return data[:-4] + data[4:8]
