"""What a view shows, and where on the source that is, whatever was done to the view."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops
from pydantic import ValidationError

from agentic_vision.errors import ImageError, ToolError
from agentic_vision.source import Source
from agentic_vision.view import Box, View


def patterned(width: int, height: int) -> Image.Image:
    """A picture in which every pixel's colour names its place."""
    image = Image.new("RGB", (width, height))
    image.putdata([(x % 256, y % 256, (x // 256 * 16 + y // 256) % 256) for y in range(height) for x in range(width)])
    return image


PICTURE = patterned(120, 80)
SOURCE = Source.open(PICTURE)
sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@st.composite
def boxes(draw: st.DrawFn, width: int = 120, height: int = 80) -> Box:
    x0 = draw(st.integers(0, width - 1))
    y0 = draw(st.integers(0, height - 1))
    return Box(x0=x0, y0=y0, x1=draw(st.integers(x0 + 1, width)), y1=draw(st.integers(y0 + 1, height)))


@st.composite
def views(draw: st.DrawFn) -> View:
    """Any chain of crops, turns and sizes, in any order."""
    view = View.whole((120, 80))
    for step in draw(st.lists(st.sampled_from(["crop", "rotate", "resize"]), max_size=5)):
        if step == "crop":
            view = view.crop(draw(boxes()))
        elif step == "rotate":
            view = view.rotated(draw(st.sampled_from([90, 180, 270])))
        else:
            view = view.resized(draw(sizes))
    return view


@given(views(), boxes())
@settings(max_examples=250)
def test_whole_source_pixels_come_back_exactly_through_any_chain_of_views(view: View, box: Box) -> None:
    assert view.to_source(view.from_source(box)) == box


@given(views(), views(), boxes())
def test_a_place_found_on_one_view_is_the_same_place_on_another(one: View, other: View, box: Box) -> None:
    found = one.to_source(one.from_source(box))
    assert other.to_source(other.from_source(found)) == box


@given(views())
def test_the_whole_view_is_its_window(view: View) -> None:
    assert view.to_source((0, 0, *view.size)) == view.box
    assert view.from_source(view.box) == pytest.approx((0, 0, *view.size))


@given(boxes(), boxes())
@settings(max_examples=60)
def test_a_crop_of_a_crop_is_cut_from_the_source(first: Box, second: Box) -> None:
    """The second box may reach beyond the first one's window: the source has those pixels too."""
    view = View.whole((120, 80)).resized((30, 20)).crop(first).crop(second)
    assert ImageChops.difference(view.render(SOURCE), PICTURE.crop(second.as_tuple())).getbbox() is None


@given(boxes(), st.sampled_from([0, 90, 180, 270]))
@settings(max_examples=60)
def test_a_box_marked_on_a_turned_view_holds_the_pixels_that_were_marked(box: Box, degrees: int) -> None:
    turned = View.whole((120, 80)).rotated(degrees)
    marked = tuple(round(side) for side in turned.from_source(box))
    assert turned.crop(turned.to_source(marked)).render(SOURCE).tobytes() == (
        turned.render(SOURCE).crop(marked).tobytes()
    )


def test_turns_are_clockwise_and_add_up() -> None:
    view = View.whole((120, 80))
    assert view.rotated(90).size == (80, 120)
    assert view.rotated(90).render(SOURCE).tobytes() == PICTURE.rotate(-90, expand=True).tobytes()
    assert view.rotated(270).rotated(180) == view.rotated(90)
    with pytest.raises(ToolError, match="45") as error:
        view.rotated(45)
    assert error.value.hint == "turn it by 90, 180 or 270"


@given(views())
@settings(max_examples=60)
def test_a_view_renders_at_its_size_the_same_bytes_every_time_and_survives_json(view: View) -> None:
    again = View.model_validate_json(view.model_dump_json())
    first, second = view.render(SOURCE), again.render(Source.open(PICTURE))
    assert again == view
    assert first.mode == "RGB"
    assert first.size == view.size
    assert first.tobytes() == second.tobytes()


def test_what_was_looked_at_before_does_not_change_a_glance() -> None:
    """A glance at a JPEG is decoded small; the full decode that a crop needed must not replace it."""
    file = io.BytesIO()
    patterned(640, 480).save(file, "JPEG")
    source, fresh = Source.open(file.getvalue()), Source.open(file.getvalue())
    glance = View.whole((640, 480), (160, 120))
    glance.crop(Box(x0=5, y0=5, x1=90, y1=70)).render(source)
    assert glance.render(source).tobytes() == glance.render(fresh).tobytes()


def test_a_rendered_image_is_the_callers_to_change() -> None:
    view = View.whole((120, 80))
    view.render(SOURCE).paste("red", (0, 0, 50, 50))
    assert view.render(SOURCE).tobytes() == PICTURE.tobytes()


def test_a_crop_takes_in_every_pixel_that_its_box_touches() -> None:
    crop = View.whole((120, 80)).crop(Box(x0=10.2, y0=20.7, x1=10.4, y1=22.1))
    assert crop.box.as_tuple() == (10, 20, 11, 23)
    assert crop.size == (1, 3)
    assert crop.detail == 1


def test_a_crop_is_clipped_and_one_outside_the_image_tells_the_model_what_to_do() -> None:
    view = View.whole((120, 80))
    assert view.crop(Box(x0=-50, y0=70, x1=20, y1=900)).box.as_tuple() == (0, 70, 20, 80)
    with pytest.raises(ToolError, match="outside the image") as error:
        view.crop(Box(x0=200, y0=0, x1=300, y1=50))
    assert "120 x 80" in error.value.hint


def test_contrast_spreads_the_tones() -> None:
    faint = Source.open(Image.linear_gradient("L").point(lambda tone: 110 + tone // 8))
    view = View.whole((256, 256))
    low, high = view.enhanced(3.0).render(faint).getextrema()[0]
    assert high - low > 80
    assert view.enhanced(1.0).render(faint).tobytes() == view.render(faint).tobytes()


def test_detail_is_shown_pixels_per_source_pixel() -> None:
    assert View.whole((400, 200), (100, 50)).detail == 0.25
    assert View.whole((400, 200), (100, 50)).rotated(90).detail == 0.25


@given(boxes(), boxes())
def test_box_algebra(one: Box, other: Box) -> None:
    shared = one.intersect(other)
    assert shared == other.intersect(one)
    assert one.intersect(one) == one
    if shared is not None:
        assert one.contains(shared)
        assert other.contains(shared)


@pytest.mark.parametrize("corners", [(5, 0, 5, 9), (9, 0, 5, 9), (0, 0, float("nan"), 9), (0, 0, float("inf"), 9)])
def test_a_box_is_never_empty_or_endless(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValidationError):
        Box.of(corners)


def test_a_view_stays_on_its_source() -> None:
    with pytest.raises(ValidationError, match="beyond the source"):
        View(source_size=(120, 80), box=Box(x0=0, y0=0, x1=121, y1=80), size=(10, 10))
    with pytest.raises(ImageError, match=r"120 x 80 .* 60 x 60"):
        View.whole((120, 80)).render(Source.open(Image.new("RGB", (60, 60))))
