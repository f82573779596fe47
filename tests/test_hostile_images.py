"""A hostile image is an answer or one typed error, soon, in little memory, and without a word on stderr."""

import importlib
import io
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agentic_vision import ImageError, Source, View
from agentic_vision.errors import ConfigError
from agentic_vision.image_limits import ImageLimits
from agentic_vision.quiet_decoders import quiet
from agentic_vision.screening import SCANS, jpeg_scans

RELIABILITY = Path(__file__).parent.parent / "benchmarks" / "reliability"
LARGE = {"scans-20000.jpg", "hidden-scans.jpg", "comments.jpg", "icc-bomb.png", "strips.tif", "boxes.jp2", "texts.png"}


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Any:
    sys.path.insert(0, str(RELIABILITY))
    yield
    sys.path.remove(str(RELIABILITY))


@cache
def files() -> tuple[Any, ...]:
    """The corpus."""
    return tuple(importlib.import_module("hostile_corpus").corpus())


def made(name: str) -> bytes:
    """The file of this name in the corpus."""
    return next(each for each in files() if each.name == name).make()  # type: ignore[no-any-return]


def rendered(data: bytes) -> Image.Image:
    source = Source.open(data)
    return View.whole(source.size, (32, 32)).render(source)


def test_a_sample_of_the_corpus_through_the_agent() -> None:
    """Every kind of file, each in a process of its own, as `benchmarks/reliability/hostile_images.py` does for all."""
    assert len(files()) >= 300
    assert len({(each.kind, each.name) for each in files()}) == len(files())
    small = [each for each in files() if not each.large]
    sample = [*small[:: len(small) // 40], *(each for each in files() if each.name in LARGE)]
    assert len({each.kind for each in sample}) > 8
    outcomes = importlib.import_module("hostile_images").measured(sample)
    assert [outcome for outcome in outcomes if not outcome.held] == []
    assert {outcome.ended for outcome in outcomes} == {"answer", "ImageError"}


def test_the_corpus_is_the_same_every_time() -> None:
    corpus = importlib.import_module("hostile_corpus").corpus
    again, other = ([each.make() for each in corpus(seed) if each.kind == "bits flipped"] for seed in (0, 1))
    assert [each.make() for each in files() if each.kind == "bits flipped"] == again
    assert again != other


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("scans-20000.jpg", "more than 100 scans"),
        ("hidden-scans.jpg", "more than 100 scans"),
        ("texts.png", "more metadata"),
        ("texts-behind.png", "more metadata"),
        ("comments.jpg", "more metadata"),
        ("padding.jpg", "more metadata"),
        ("small-comments.gif", "more metadata"),
        ("boxes.jp2", "more metadata"),
        ("strips.tif", "2,000,000 strips"),
        ("tags.tif", "2,000,000 tags"),
        ("directory.ico", "65,535 pictures"),
        ("chunks.webp", "more than 25,000 chunks"),
        ("20000-frames.webp", "20,000 frames, more than 10,000.*AGENTIC_VISION_MAX_FRAMES"),
        ("9000x9000.ico", "more than 1,000,000 pixels that are let in as an icon"),
        ("9000x9000.bmp", "more than 50,000,000 pixels.*AGENTIC_VISION_MAX_PIXELS"),
    ],
)
def test_what_costs_more_than_a_picture_is_refused_before_it_costs(name: str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        rendered(made(name))


@pytest.mark.parametrize(("most", "name"), [("90", "plain.bmp"), ("6143", "baseline.jpg")])
def test_pixels_are_a_setting(monkeypatch: pytest.MonkeyPatch, most: str, name: str) -> None:
    assert Source.open(made(name)).size
    monkeypatch.setenv("AGENTIC_VISION_MAX_PIXELS", most)
    with pytest.raises(ImageError, match=rf"more than {int(most):,} pixels.*raise AGENTIC_VISION_MAX_PIXELS"):
        Source.open(made(name))


def test_what_is_dear_to_decode_may_have_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTIC_VISION_MAX_PIXELS", str(96 * 64))
    for name in ("baseline.jpg", "grey.jpg", "restarts.jpg"):
        rendered(made(name))
    for name, says in [
        ("lossless.webp", "2,048 pixels that are let in as WEBP of mode RGBA"),
        ("still.avif", "2,048 pixels that are let in as AVIF"),
        ("alpha.png", "3,072 pixels that are let in as PNG of mode RGBA"),
        ("progressive.jpg", "3,072 pixels that are let in as a progressive JPEG"),
    ]:
        with pytest.raises(ImageError, match=says):
            rendered(made(name))


@pytest.mark.parametrize("value", ["0", "-1", "many", "", "1e6", "٣"])
def test_a_limit_that_is_none_is_a_config_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AGENTIC_VISION_MAX_FRAMES", value)
    with pytest.raises(ConfigError, match="AGENTIC_VISION_MAX_FRAMES"):
        Source.open(Image.new("RGB", (2, 2)))


def test_pillows_own_limit_is_named_where_ours_is_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTIC_VISION_MAX_PIXELS", "9000000000")
    with pytest.raises(ImageError, match=r"178,956,970 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        Source.open(made("60000x60000.png"))


def test_the_scans_of_a_jpeg_are_counted_and_a_thumbnails_are_not() -> None:
    file, thumbnail = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(thumbnail, "JPEG", progressive=True)
    Image.effect_noise((80, 60), 50).convert("RGB").save(file, "JPEG", progressive=True, comment=thumbnail.getvalue())
    assert 5 < jpeg_scans(file.getvalue()) < 15
    file.seek(0)
    Image.effect_noise((80, 60), 50).convert("RGB").save(file, "JPEG", comment=thumbnail.getvalue())
    assert jpeg_scans(file.getvalue()) == 1
    assert jpeg_scans(made("scans-20000.jpg")) == SCANS + 1
    assert jpeg_scans(b"\xff\xd8") == 0


def test_escapes_in_a_data_uri_mean_what_they_meant() -> None:
    data = made("rgb.png")
    escaped = "".join(
        f"%{byte:02X}" if byte % 3 or byte > 127 or not chr(byte).isalnum() else chr(byte) for byte in data
    )
    assert Source.open(f"data:image/png,{escaped}").data == data


def test_damage_in_a_tiff_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    good = made("fax.tif")
    for at in range(10, len(good), 7):
        damaged = bytearray(good)
        damaged[at] ^= 0x55
        try:
            rendered(bytes(damaged))
        except ImageError:
            continue
    assert capfd.readouterr() == ("", "")


def test_pillows_warnings_are_kept_from_the_user_and_no_others() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        rendered(made("exif-value-outside.png"))  # of which Pillow warns
        assert caught == []
        with quiet():
            thread = threading.Thread(target=rendered, args=(made("exif-value-outside.png"),))
            thread.start()
            thread.join()
            warnings.warn("of the application", stacklevel=1)
        assert [str(each.message) for each in caught] == ["of the application"]
        assert list(warnings.filters) == before


def test_conversion_in_bands_changes_no_pixel() -> None:
    clear = Image.merge("RGBA", [Image.effect_noise((1100, 2100), 90) for _ in range(4)])
    white = Image.new("RGBA", clear.size, "white")
    assert Source.open(clear).pixels(View.whole(clear.size).box, clear.size).tobytes() == (
        Image.alpha_composite(white, clear).convert("RGB").tobytes()
    )


def test_limits_speak_of_nothing_as_well() -> None:
    with pytest.raises(ImageError, match=r"no pixels \(0 x 5\)"):
        ImageLimits().check_pixels("it", 0, 5)
