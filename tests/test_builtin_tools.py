"""The tools that ship with the package, called as a model calls them."""

import asyncio

import pytest
from PIL import Image

from agentic_vision import Box, Source, Toolbox, View, family
from agentic_vision.messages import FailureKind, ToolCall
from agentic_vision.toolbox import CallScope

FAMILY = family("qwen3-vl")
SIZE = (1600, 1200)
GLANCE = View.whole(SIZE, FAMILY.glance(SIZE).size)


def call(name, arguments=None, views=(GLANCE,), family=FAMILY, size=SIZE):
    look = CallScope(views, (Source.open(Image.new("RGB", size)),), family, "?")
    tools = Toolbox.of(["zoom_crop", "full_res", "resize", "rotate", "enhance"])
    return asyncio.run(tools.run(ToolCall(id="call_1", name=name, arguments=arguments or {}), look))


def test_zoom_crop_shows_the_region_at_full_detail():
    view = call("zoom_crop", {"bbox_2d": [250, 250, 750, 750]}).view
    assert view.box.as_tuple() == (400, 300, 1200, 900)
    assert view.size == FAMILY.full((800, 600))


def test_zoom_crop_enlarges_a_small_region_only_as_far_as_the_family_needs():
    view = call("zoom_crop", {"bbox_2d": [500, 500, 520, 520]}).view
    assert view.size == FAMILY.full((int(view.box.width), int(view.box.height)))
    assert FAMILY.tokens(view.size) < FAMILY.tokens(GLANCE.size)


@pytest.mark.parametrize(
    ("corners", "window"),
    [
        ([500, 500, 501, 501], (798, 598, 803, 603)),
        ([0, 0, 1, 1], (0, 0, 4, 4)),
        ([999, 999, 1000, 1000], (1596, 1196, 1600, 1200)),
    ],
)
def test_zoom_crop_widens_a_tiny_region_around_its_centre(corners, window):
    box = call("zoom_crop", {"bbox_2d": corners}).view.box
    assert box.width >= 4
    assert box.height >= 4
    assert Box.of(window).contains(box)


@pytest.mark.parametrize("size", [(1, 1), (2, 3000), (3000, 2), (3, 3)])
def test_every_tool_takes_a_picture_of_any_shape(size):
    views = (View.whole(size, FAMILY.glance(size).size),)
    for name, arguments in [
        ("zoom_crop", {"bbox_2d": [0, 0, 10, 10]}),
        ("full_res", {}),
        ("rotate", {"degrees": 90}),
        ("enhance", {}),
    ]:
        seen = call(name, arguments, views, size=size)
        assert seen.view is not None, seen.failure


def test_full_res_shows_the_whole_image_from_any_view_of_it():
    crop = GLANCE.crop(Box(x0=0, y0=0, x1=100, y1=100))
    view = call("full_res", views=(GLANCE, crop)).view
    assert view.is_whole
    assert view.size == FAMILY.full(SIZE)


def test_full_res_keeps_the_turn():
    view = call("full_res", views=(GLANCE.rotated(90),)).view
    assert (view.rotation, view.size) == (90, FAMILY.full(SIZE[::-1]))


def test_resize_doubles_the_visual_tokens_until_full():
    views = [GLANCE]
    while (seen := call("resize", views=tuple(views))).view is not None:
        before, after = FAMILY.tokens(views[-1].size), FAMILY.tokens(seen.view.size)
        assert before < after <= 2 * before
        views.append(seen.view)
    assert views[-1].size == FAMILY.full(SIZE)
    assert len(views) == 4
    assert "full resolution already" in seen.failure.message


def test_resize_goes_on_from_the_best_look_at_the_whole_not_from_a_crop():
    crop = GLANCE.crop(Box(x0=0, y0=0, x1=100, y1=100))
    assert call("resize", views=(GLANCE, crop)).view == call("resize").view


def test_resize_has_nothing_to_offer_where_every_size_costs_the_same():
    llava = family("llava-1.5")
    glance = View.whole(SIZE, llava.glance(SIZE).size)
    assert call("resize", views=(glance,), family=llava).failure.kind is FailureKind.TOOL_RAISED


def test_rotate_turns_what_is_looked_at():
    view = call("rotate", {"degrees": 270}).view
    assert (view.rotation, view.size, view.box) == (270, GLANCE.size[::-1], GLANCE.box)


def test_enhance_changes_the_contrast_and_nothing_else():
    assert call("enhance").view == GLANCE.enhanced(2.0)
    assert call("enhance", {"contrast": 100}).failure.kind is FailureKind.BAD_ARGUMENTS
