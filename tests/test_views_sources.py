"""What a source takes, how it reads it, and what it refuses: one typed error, with the mend in it."""

import base64
import io
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps, ImageStat

from agentic_vision import source as source_module
from agentic_vision.errors import ImageError
from agentic_vision.source import Source
from agentic_vision.view import Box, View

GOOD: dict[str, bytes] = {}


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(source: Source, size: tuple[int, int] | None = None) -> Image.Image:
    return View.whole(source.size, size).render(source)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """No symmetry: every turn and every mirror image of it differs."""
    image = Image.merge(
        "RGB", [Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90), Image.radial_gradient("L")]
    ).resize((width, height))
    image.paste("red", (2, 3, width // 3, height // 5))
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference, in the 0 to 255 of a sample."""
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def test_every_way_to_give_the_same_picture(tmp_path: Path) -> None:
    data = encoded(picture())
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    given_as = [str(path), path, data, bytearray(data), uri, picture(), np.asarray(picture())]
    sources = [Source.open(each) for each in given_as]
    assert {source.size for source in sources} == {(64, 48)}
    assert {shown(source).tobytes() for source in sources} == {picture().tobytes()}
    assert [source.label for source in sources] == [
        str(path), str(path), "bytes", "bytes", "data URI", "image", "array"
    ]  # fmt: skip
    assert len({source.digest for source in sources[:5]}) == 1
    assert sources[5].digest == sources[6].digest
    assert Source.open(sources[0]) is sources[0]


def test_images_that_differ_in_their_palettes_alone_are_others() -> None:
    red, blue = Image.new("P", (4, 4)), Image.new("P", (4, 4))
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    assert Source.open(red).digest != Source.open(blue).digest


def test_a_later_change_of_the_users_image_does_not_reach_the_source() -> None:
    image, array = picture(), np.asarray(picture()).copy()
    sources = Source.open(image), Source.open(array)
    image.paste("black", (0, 0, 64, 48))
    array[:] = 0
    assert [shown(source).tobytes() for source in sources] == [picture().tobytes()] * 2


def test_opening_decodes_no_pixels() -> None:
    data = encoded(Image.new("RGB", (6000, 4000), "navy"), "PNG")
    tracemalloc.start()
    try:
        assert Source.open(data).size == (6000, 4000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    source = Source.open(data)
    assert source.size == upright.size
    assert shown(source).tobytes() == upright.tobytes()
    # A crop lies where it lies on the upright image, and so does one of a glance.
    box = Box(x0=3, y0=4, x1=30, y1=21)
    assert View.whole(source.size).crop(box).render(source).tobytes() == upright.crop(box.as_tuple()).tobytes()
    assert Source.open(Image.open(io.BytesIO(data))).size == upright.size


def test_exif_behind_the_pixels_of_a_png_counts_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture())
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    late = data[:-12] + chunk + data[-12:]  # in front of IEND
    assert Source.open(late).size == (48, 64)


def test_damaged_exif_leaves_the_picture_as_it_is_stored() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow may say that the EXIF is corrupt
        assert Source.open(data).size == (64, 48)


@given(
    st.integers(300, 1100),
    st.integers(300, 900),
    st.sampled_from([1, 3, 6, 7, 8]),
    st.sampled_from([2, 4, 5, 9]),
)
@settings(max_examples=25)
def test_a_small_look_at_a_jpeg_is_decoded_small_and_looks_the_same(
    width: int, height: int, orientation: int, times: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = Source.open(encoded(picture(width, height), "JPEG", quality=92, exif=exif))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(source._data or b""))).convert("RGB")
    size = (source.size[0] // times, source.size[1] // times)
    window = Box(x0=source.size[0] // 4, y0=7, x1=source.size[0] - 5, y1=source.size[1] // 2 + 100)
    for box in (Box(x0=0, y0=0, x1=source.size[0], y1=source.size[1]), window):
        exact = upright.resize(size, Image.Resampling.BICUBIC, box=box.as_tuple())
        assert difference(source.pixels(box, size), exact) < 2.5


def test_a_glance_at_a_jpeg_never_holds_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    to_rgb = source_module.to_rgb
    monkeypatch.setattr(source_module, "to_rgb", lambda image: (decoded.append(image.size), to_rgb(image))[1])
    source = Source.open(encoded(picture(1600, 1200), "JPEG"))
    shown(source, (400, 300))
    shown(source, (180, 135))
    View.whole(source.size).crop(Box(x0=100, y0=100, x1=500, y1=400)).render(source)
    assert decoded == [(400, 300), (200, 150), (1600, 1200)]


def test_alpha_goes_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.info["transparency"] = 1
    assert shown(Source.open(encoded(clear))).getpixel((0, 0)) == (255, 255, 255)
    assert shown(Source.open(encoded(half))).getpixel((0, 0)) == (127, 127, 127)
    assert shown(Source.open(encoded(palette))).getpixel((0, 0)) == (255, 255, 255)
    assert shown(Source.open(palette)).getpixel((0, 0)) == (255, 255, 255)
    keyed = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), transparency=(1, 2, 3))
    assert shown(Source.open(keyed)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_cut_off() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(4, 0)
    grey = Image.fromarray(ramp)
    assert grey.mode == "I;16"
    for given_as in (
        encoded(grey),
        encoded(grey, "TIFF"),
        grey,
        ramp,
        Image.fromarray(ramp.astype(np.int32)),
    ):
        row = np.asarray(shown(Source.open(given_as)))[0, :, 0].astype(int)
        assert abs(row - np.arange(256)).max() <= 1
    unit = Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32)[None, :])
    assert shown(Source.open(unit)).getextrema()[0] == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "PA", "La", "RGBa", "I;16B"])
def test_every_mode_shows_as_rgb(mode: str) -> None:
    image = Image.new(mode, (10, 6))
    assert shown(Source.open(image)).mode == "RGB"
    assert shown(Source.open(image)).size == (10, 6)


def test_cmyk_jpeg_and_palette_show_their_colours() -> None:
    cmyk = encoded(Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK"), "JPEG", quality=95)
    palette = encoded(Image.new("RGB", (16, 16), (200, 30, 40)).convert("P", palette=Image.Palette.ADAPTIVE))
    for data in (cmyk, palette):
        assert shown(Source.open(data)).getpixel((8, 8)) == pytest.approx((200, 30, 40), abs=4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (12, 12), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert shown(Source.open(data)).getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=3)


def test_one_pixel() -> None:
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        source = Source.open(encoded(Image.new("RGB", (1, 1), "red"), kind))
        assert shown(source).size == (1, 1)
        assert shown(source, (200, 100)).getpixel((199, 99)) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.bool_])
def test_arrays(shape: tuple[int, ...], kind: type) -> None:
    array = np.ones(shape, dtype=kind)
    assert Source.open(array).size == (7, 5)
    assert shown(Source.open(array)).size == (7, 5)


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 7, 2), np.uint8), np.zeros(9, np.uint8), np.zeros((5, 7)), np.zeros((0, 7), np.uint8)],
)
def test_an_array_that_is_no_image(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"array .*(give|convert)"):
        Source.open(array)


def test_what_is_refused_names_the_mend(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    for bad, says in [
        (text, "is not an image that can be read: give a JPEG"),
        (empty, "is empty"),
        (tmp_path, "is a folder: give the path of an image file"),
        (tmp_path / "absent.png", "there is no file .*absent.png: check the path"),
        ("", "there is no file|is a folder"),
        ("nul\0byte.png", "cannot be read"),
        ("http://127.0.0.1/cat.png", "no public address.*allow it"),
        ("data:image/png;base64,@@@@", "not valid base64"),
        ("data:image/png;base64", "has no comma"),
        ("data:,hello", "is not an image"),
        (b"", "is empty"),
        (postscript, "is not an image that can be read"),
        (12, "a int is not an image: give a path"),
        (None, "a NoneType is not an image"),
    ]:
        with pytest.raises(ImageError, match=says) as error:
            Source.open(bad)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_file_is_one_typed_error_wherever_it_was_cut(kind: str) -> None:
    data = encoded(picture(200, 150), kind)
    for end in sorted({*range(1, 40, 3), *range(40, len(data) * 9 // 10, max(1, len(data) // 12))}):
        with pytest.raises(ImageError):
            shown(Source.open(data[:end]))


@given(
    st.binary(min_size=1, max_size=60),
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"]),
    st.data(),
)
@settings(max_examples=150)
def test_garbage_in_a_file_is_a_picture_or_one_typed_error(garbage: bytes, kind: str, data: st.DataObject) -> None:
    good = GOOD.setdefault(kind, encoded(picture(), kind))
    at = data.draw(st.integers(0, len(good) - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of the small things that it mends
        try:
            source = Source.open(good[:at] + garbage + good[at + len(garbage) :])
            View.whole(source.size, (8, 8)).render(source)
        except ImageError:
            pass


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    pixels = b"\x00\x00\x00\x00IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + header + zlib.crc32(header).to_bytes(4, "big") + pixels


@pytest.mark.parametrize("size", [(10_000, 9_000), (50_000, 50_000), (2_000_000_000, 2_000_000_000)])
def test_a_decompression_bomb_is_an_error_never_a_warning(size: tuple[int, int]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match=r"more than 50,000,000 pixels.*smaller copy"):
            Source.open(bomb(*size))
    assert caught == []


def test_the_limit_holds_where_an_application_has_lifted_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match="more than"):
        Source.open(bomb(50_000, 50_000))


def test_a_view_cannot_be_a_bomb_either() -> None:
    with pytest.raises(ImageError, match="the view of image"):
        View.whole((64, 48), (100_000, 100_000)).render(Source.open(picture()))


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTIC_VISION_MAX_IMAGE_BYTES", "1000")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(1001))
    for bad in (large, bytes(1001), "data:;base64," + "A" * 3000):
        with pytest.raises(ImageError, match=r"1,000.*: give a smaller copy"):
            Source.open(bad)
