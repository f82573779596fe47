"""Which files does a hostile person send as an image? `corpus(seed)`: some hundred, the same for the same seed.

Truncations and bit flips of good files of every format; claims of gigapixels; files that really decode to as much as
is let in; metadata that cost more than the picture; what is no image at all. Each has a kind, for tables, and most a
few hundred bytes. The large ones are written by hand, never drawn: their pixels would take the memory that the
measurement is about.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bombs
import metadata
from containers import bmp, jpeg, png, png_chunk, tiff
from PIL import Image, features


@dataclass(frozen=True)
class Hostile:
    """A file: `kind` (a row of the table), `name`, and `make`, which gives its bytes. `uri`: they are a `data:` URI's.

    `large`: it takes a second or more to make or to refuse, or many megabytes.
    """

    kind: str
    name: str
    make: Callable[[], bytes]
    uri: bool = False
    large: bool = False


def corpus(seed: int = 0) -> Iterator[Hostile]:
    """All the files, kind by kind."""
    good = good_files()
    yield from _odd_but_good(good)
    yield from _truncated(good, random.Random(seed))
    yield from _flipped(good, random.Random(seed + 1))
    yield from _empty_sides()
    yield from _no_images(good)
    for kind, files, large in (
        ("claims gigapixels", bombs.claims(), False),
        ("decompression bomb", bombs.real(), True),
        ("slow to decode", bombs.slow(), True),
        ("animation bomb", bombs.animations(), False),
        ("bad metadata", metadata.bad(), False),
        ("metadata bomb", metadata.storms(), True),
    ):
        for name, make in files.items():
            yield Hostile(kind, name, make, large=large)
    yield from _uris()


def drawn(width: int = 96, height: int = 64) -> Image.Image:
    """A picture with few repetitions, so that its file has a body."""
    noise = random.Random(5).randbytes(width * height // 16 * 3)
    return Image.frombytes("RGB", (width // 4, height // 4), noise).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def good_files() -> dict[str, bytes]:
    """An intact file of every kind that is let in."""
    rgb = drawn()
    frames = [drawn(48, 32), drawn(48, 32).transpose(Image.Transpose.ROTATE_180), Image.new("RGB", (48, 32), "red")]
    moving: dict[str, object] = {"save_all": True, "append_images": frames[1:], "duration": 40}
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(rgb.size))
    palette = rgb.quantize(32)
    deep = Image.frombytes("I;16", (48, 32), random.Random(6).randbytes(48 * 32 * 2))
    files = {
        "baseline.jpg": encoded(rgb, "JPEG", quality=90),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "turned.jpg": encoded(rgb, "JPEG", exif=exif, icc_profile=bytes(600), comment=b"seen"),
        "restarts.jpg": encoded(rgb, "JPEG", restart_marker_blocks=2),
        "grey.jpg": encoded(rgb.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "two.mpo": encoded(frames[0], "MPO", **moving),
        "rgb.png": encoded(rgb, "PNG"),
        "alpha.png": encoded(clear, "PNG"),
        "palette.png": encoded(palette, "PNG", transparency=bytes(range(0, 256, 8))),
        "deep.png": encoded(deep, "PNG"),
        "grey-alpha.png": encoded(clear.convert("LA"), "PNG"),
        "bits.png": encoded(rgb.convert("1"), "PNG"),
        "deep-colours.png": png(16, 12, bytes(12 * (1 + 16 * 6)), depth=16, colour=2),
        "interlaced.png": png(16, 12, bytes(2000), colour=2, interlaced=True),
        "moving.png": encoded(frames[0], "PNG", **moving),
        "still.gif": encoded(palette, "GIF"),
        "moving.gif": encoded(frames[0], "GIF", **moving),
        "lossy.webp": encoded(rgb, "WEBP", quality=80),
        "lossless.webp": encoded(clear, "WEBP", lossless=True),
        "moving.webp": encoded(frames[0], "WEBP", **moving),
        "plain.bmp": encoded(rgb, "BMP"),
        "runs.bmp": bmp(16, 12, b"\x10\x00\x00\x00" * 12 + b"\x00\x01", runs=True),
        "plain.tif": encoded(rgb, "TIFF"),
        "lzw.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(clear, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": encoded(rgb, "TIFF", compression="jpeg"),
        "fax.tif": encoded(rgb.convert("1"), "TIFF", compression="group4"),
        "deep.tif": encoded(deep, "TIFF"),
        "float.tif": encoded(rgb.convert("F"), "TIFF"),
        "cmyk.tif": encoded(rgb.convert("CMYK"), "TIFF"),
        "raw.ppm": encoded(rgb, "PPM"),
        "plain.pgm": b"P2 4 2 255\n" + b"7 8 9 10 " * 2,
        "icon.ico": encoded(clear.resize((32, 32)), "ICO"),
    }
    if features.check("avif"):
        files["still.avif"] = encoded(rgb, "AVIF")
        files["alpha.avif"] = encoded(clear, "AVIF")
    if features.check("jpg_2000"):
        files["still.jp2"] = encoded(rgb, "JPEG2000")
        files["alpha.jp2"] = encoded(clear, "JPEG2000")
    return files


def _odd_but_good(good: dict[str, bytes]) -> Iterator[Hostile]:
    for name, data in good.items():
        yield Hostile("intact", name, lambda data=data: data)
    for value in (float("nan"), float("inf"), -1e38):
        image = Image.new("F", (8, 8), value)
        image.putpixel((3, 3), 0.5)
        yield Hostile("intact", f"float-{value}.tif", lambda image=image: encoded(image, "TIFF"))


def _truncated(good: dict[str, bytes], rng: random.Random) -> Iterator[Hostile]:
    for name, data in good.items():
        ends = {2, 7, 16, 30, len(data) // 2, len(data) - 1, *(rng.randrange(len(data)) for _ in range(2))}
        if name.endswith(".png"):
            at = rng.choice([at for at in range(len(data)) if data[at : at + 4] == b"IDAT"])
            ends |= {at - 4, at, at + 4}
        if name.endswith(".jpg"):
            at = rng.choice([at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)])
            ends |= {at, at + 1, at + 3}
        for end in sorted(end for end in ends if 0 < end < len(data)):
            yield Hostile("truncated", f"{end}-of-{name}", lambda data=data, end=end: data[:end])


def _flipped(good: dict[str, bytes], rng: random.Random) -> Iterator[Hostile]:
    for name, data in good.items():
        for many, reach in ((1, 64), (4, 200), (8, len(data)), (64, len(data))):
            damaged = bytearray(data)
            for _ in range(many):
                damaged[rng.randrange(4, min(reach, len(data)))] ^= 1 << rng.randrange(8)
            yield Hostile("bits flipped", f"{many}-of-{name}", lambda damaged=damaged: bytes(damaged))


def _empty_sides() -> Iterator[Hostile]:
    for width, height in ((0, 5), (5, 0), (0, 0)):
        size = f"{width}x{height}"
        yield Hostile("no pixels", f"{size}.png", lambda w=width, h=height: png(w, h, bytes(50)))
        yield Hostile("no pixels", f"{size}.jpg", lambda w=width, h=height: jpeg(w, h))
        yield Hostile("no pixels", f"{size}.bmp", lambda w=width, h=height: bmp(w, h, bytes(90)))
        yield Hostile("no pixels", f"{size}.tif", lambda w=width, h=height: tiff(w, h, bytes(90)))
        yield Hostile("no pixels", f"{size}.ppm", lambda w=width, h=height: b"P6 %d %d 255\n" % (w, h) + bytes(9))
        gif = encoded(drawn().quantize(8), "GIF")
        sides = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        yield Hostile("no pixels", f"{size}.gif", lambda gif=gif, sides=sides: gif[:6] + sides + gif[10:])
    for width, height in ((1, 1), (1, 65_000), (65_000, 1), (2, 60_000)):
        yield Hostile("no pixels", f"thin-{width}x{height}.png", lambda w=width, h=height: bombs.png_zeros(w, h))
    yield Hostile("no pixels", "upside-down.bmp", lambda: bmp(5, -5, bytes(90)))
    yield Hostile("no pixels", "mirrored.bmp", lambda: bmp(-5, 5, bytes(90)))


def _no_images(good: dict[str, bytes]) -> Iterator[Hostile]:
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9)
    )
    zipped = b"PK\x03\x04" + bytes(26) + b"name" + b"PK\x05\x06" + bytes(18)
    files = {
        "empty.png": b"",
        "one-byte.jpg": b"\xff",
        "zip.jpg": zipped,
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "laughs.svg": laughs + b"]><svg>&j;</svg>",
        "document.pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n",
        "page.jpg": b"<!doctype html><img src=x onerror=alert(1)>",
        "program.elf": b"\x7fELF\x02\x01\x01" + bytes(60),
        "picture.wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "picture.emf": b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(60),
        "picture.psd": b"8BPS\x00\x01"
        + bytes(6)
        + b"\x00\x03"
        + (1 << 28).to_bytes(4, "big") * 2
        + b"\x00\x08\x00\x03",
        "picture.fli": bytes(4) + b"\x11\xaf" + bytes(130),
        "picture.tga": b"\x00\x00\x02" + bytes(9) + b"\xff\xff\xff\xff\x20\x00",
        "picture.dds": b"DDS \x7c\x00\x00\x00" + b"\xff" * 120,
        "picture.hdf": b"\x89HDF\r\n\x1a\n" + bytes(60),
        "picture.qoi": b"qoif\xff\xff\xff\xff\xff\xff\xff\xff\x04\x00",
        "zeros.png": bytes(100_000),
        "ones.jpg": b"\xff" * 100_000,
        "noise.webp": random.Random(9).randbytes(100_000),
        "text.gif": b"GIF89a is how this text begins, which is none",
        "gif-and-script.gif": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
        "only-soi.jpg": b"\xff\xd8",
        "only-signature.png": b"\x89PNG\r\n\x1a\n",
        "jpeg-and-zip.jpg": good["baseline.jpg"] + zipped,
        "png-and-page.png": good["rgb.png"] + b"<script>alert(1)</script>",
        "png-in-jpeg.jpg": good["baseline.jpg"][:-2] + good["rgb.png"],
        "jpeg-in-png.png": good["rgb.png"][:33] + png_chunk(b"tEXt", b"x\0y") + good["baseline.jpg"],
        "pdf-in-jpeg.jpg": jpeg(8, 8, extra=b"\xff\xfe\x00\x0a%PDF-1.7" + b"\xff\xfe\x00\x04ab"),
        "two-headers.png": good["rgb.png"][:33] * 2 + good["rgb.png"][33:],
        "wrong-name.jpg": good["rgb.png"],
    }
    for name, data in files.items():
        yield Hostile("no image, polyglot", name, lambda data=data: data)


def _uris() -> Iterator[Hostile]:
    good = encoded(drawn(), "PNG")
    many = 5_000_000
    for name, uri, large in (
        ("good", b"data:image/png;base64," + base64.b64encode(good), False),
        ("no-comma", b"data:image/png;base64", False),
        ("not-base64", b"data:image/png;base64,\xc3\xa4@@", False),
        ("escaped", b"data:image/png," + b"".join(b"%%%02x" % byte for byte in good), False),
        ("escapes", b"data:image/png;base64," + b"%41" * many, True),
        ("escapes-raw", b"data:," + b"%00" * many, True),
        ("percents", b"data:," + b"%" * 3 * many, True),
    ):
        yield Hostile("data: URI", name, lambda uri=uri: uri, uri=True, large=large)
