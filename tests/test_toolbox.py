"""Tools: what a typed function becomes, and what comes back from every kind of call."""

# ruff: noqa: ARG001, ARG002 (a tool takes the view, whether or not it needs it)

import functools
import threading
from collections.abc import Callable
from typing import Annotated, Literal

import pytest
from pydantic import Field
from tool_calls import PER_MILLE, PIXELS, locate, look, run

from agentic_vision import (
    Box,
    ConfigError,
    Toolbox,
    ToolContext,
    View,
    visual_tool,
)
from agentic_vision.messages import FailureKind, ToolCall
from agentic_vision.toolbox import MAX_TEXT, installed_tools

# What a function becomes


def test_the_schema_comes_from_the_signature_and_the_docstring():
    assert locate.name == "locate"
    assert locate.description == "Say where a region lies."
    box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    assert locate.schema == {
        "type": "object",
        "properties": {
            "bbox_2d": {**box, "description": "The region."},
            "label": {"type": "string", "default": "it", "description": "What to call it, in a word."},
        },
        "required": ["bbox_2d"],
        "additionalProperties": False,
    }


def test_the_model_is_told_its_own_coordinates_and_of_image_only_where_it_is_a_choice():
    one = Toolbox.of([locate]).specs(PER_MILLE, several_images=False)[0].schema["properties"]
    several = Toolbox.of([locate]).specs(PIXELS, several_images=True)[0].schema["properties"]
    assert "0 to 1000" in one["bbox_2d"]["description"]
    assert "image" not in one
    assert "pixels" in several["bbox_2d"]["description"]
    assert several["image"]["type"] == "integer"


def test_a_tool_is_still_a_function():
    view = View.whole((10, 10))
    assert locate(view, Box(x0=0, y0=0, x1=1, y1=2)) == "it: (0.0, 0.0, 1.0, 2.0)"


def test_partials_and_objects_are_tools():
    def mark(view: View, times: int, colour: str = "red") -> str:
        """Say how often, in which colour.

        Args:
            times: How often.
        """
        return f"{times} {colour}"

    class Marker:
        def __call__(self, view: View, times: int) -> str:
            """Say how often."""
            return f"{times}!"

    blue = visual_tool(name="blue")(functools.partial(mark, colour="blue"))
    assert set(blue.schema["properties"]) == {"times"}
    assert (blue.description, blue.schema["properties"]["times"]["description"]) == (
        "Say how often, in which colour.",
        "How often.",
    )
    marker = visual_tool(name="marker")(Marker())
    assert marker.description == "Say how often."
    view = View.whole((10, 10))
    assert (blue(view, times=3), marker(view, times=2)) == ("3 blue", "2!")


def no_docstring(view: View) -> View:
    return view


def no_view(degrees: int) -> str:
    """Lacks the view."""


def no_type(view: View, degrees) -> View:
    """Lacks a type."""


def star(view: View, *degrees: int) -> View:
    """Takes any number of arguments."""


def image_argument(view: View, image: int) -> View:
    """Takes the reserved name."""


def nested_box(view: View, boxes: list[Box]) -> View:
    """Takes boxes inside a list."""


def no_json(view: View, lock: threading.Lock) -> View:
    """Takes what no model can write."""


def no_schema(view: View, work: Callable[[], None]) -> View:
    """Takes what has no JSON schema."""


def default_place(view: View, box: Box = Box(x0=0, y0=0, x1=9, y1=9)) -> View:  # noqa: B008
    """Looks at a place that nobody has seen."""


def two_contexts(view: View, one: ToolContext, other: ToolContext) -> View:
    """Takes what it knows twice."""


WRONG = [
    no_docstring, no_view, no_type, star, image_argument, nested_box, no_json, no_schema, default_place, two_contexts
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_a_tool_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=wrong.__name__):
        visual_tool(wrong)


def test_names_are_found_through_the_entry_points_and_the_order_is_kept():
    assert Toolbox.of(None).names == ("zoom_crop", "full_res", "resize")
    assert Toolbox.of(["rotate", locate, no_docstring_but_typed, "enhance"]).names == (
        "rotate",
        "locate",
        "no_docstring_but_typed",
        "enhance",
    )
    assert {"zoom_crop", "full_res", "resize", "rotate", "enhance"} <= installed_tools().keys()


def no_docstring_but_typed(view: View) -> View:
    """A plain function, made a tool by the toolbox."""
    return view


@pytest.mark.parametrize("wrong", [["nonesuch"], "zoom_crop", [3], ["rotate", "rotate"]])
def test_a_toolbox_refuses_what_it_cannot_hold(wrong):
    with pytest.raises(ConfigError):
        Toolbox.of(wrong)


# Boxes


@pytest.mark.parametrize("family", [PIXELS, PER_MILLE])
def test_a_box_reaches_the_function_in_source_pixels(family):
    whole = View.whole((1000, 500), family.full((504, 252)))
    written = family.from_fractions((0.25, 0.5, 0.5, 1.0), whole.size)
    seen = run([locate], "locate", {"bbox_2d": list(written)}, look(whole, family=family))
    assert seen.text == "it: (250.0, 250.0, 500.0, 500.0)"


def test_a_box_is_relative_to_the_image_that_is_looked_at():
    whole = View.whole((1000, 500), (500, 250))
    crop = whole.crop(Box(x0=400, y0=200, x1=600, y1=400)).rotated(90)
    box = {"bbox_2d": [0, 0, 500, 500]}
    assert run([locate], "locate", box, look(whole, crop)).text == "it: (400.0, 300.0, 500.0, 400.0)"
    assert run([locate], "locate", {**box, "image": 1}, look(whole, crop)).text == "it: (0.0, 0.0, 500.0, 250.0)"


def test_a_box_partly_outside_is_clipped_to_the_image_that_is_looked_at():
    crop = View.whole((1000, 500)).crop(Box(x0=400, y0=200, x1=600, y1=400))
    assert run([locate], "locate", {"bbox_2d": [-50, 500, 2000, 9999]}, look(crop)).text == (
        "it: (400.0, 300.0, 600.0, 400.0)"
    )


@pytest.mark.parametrize("family", [PIXELS, PER_MILLE])
def test_a_box_wholly_outside_is_told_the_range_in_the_models_coordinates(family):
    whole = View.whole((1000, 500), family.full((504, 252)))
    failure = run([locate], "locate", {"bbox_2d": [1001, 0, 1200, 300]}, look(whole, family=family)).failure
    assert failure.kind is FailureKind.OUTSIDE_IMAGE
    x1, y1 = family.from_fractions((0, 0, 1, 1), whole.size)[2:]
    assert f"x from 0 to {x1} and y from 0 to {y1}" in failure.message


@pytest.mark.parametrize(
    "box",
    [
        [500, 0, 100, 300],
        [0, 300, 100, 300],
        [1, 2, 3],
        "left",
        None,
        [0, 0, float("inf"), 9],
        [0, float("nan"), 9, 9],
    ],
)
def test_a_reversed_empty_or_senseless_box_is_a_clear_failure(box):
    failure = run([locate], "locate", {"bbox_2d": box}).failure
    assert failure.kind is FailureKind.BAD_ARGUMENTS
    assert "bbox_2d" in failure.message


# What a tool may know and give


@visual_tool
def inspect_context(view: View, context: ToolContext, degrees: Literal[90, 180] = 90) -> str:
    """Say what is known."""
    pixel = view.render(context.source).getpixel((0, 0))
    return f"{context.question} {len(context.views)} {context.family.name} {pixel} {degrees}"


def test_the_context_is_filled_in_and_no_argument_of_the_model():
    assert "context" not in inspect_context.schema["properties"]
    assert run([inspect_context], "inspect_context").text == "What is it? 1 qwen3-vl (255, 255, 255) 90"


@visual_tool
def optional_box(view: View, bbox_2d: Annotated[Box | None, Field(description="Where.")] = None) -> str:
    """Look somewhere, or everywhere."""
    return "everywhere" if bbox_2d is None else str(bbox_2d.x1)


def test_a_box_may_be_optional():
    assert run([optional_box], "optional_box").text == "everywhere"
    assert run([optional_box], "optional_box", {"bbox_2d": [0, 0, 500, 500]}).text == "500.0"
    assert optional_box.schema["properties"]["bbox_2d"]["description"] == "Where."


@visual_tool
def talkative(view: View) -> str:
    """Say far too much."""
    return "x" * 10 * MAX_TEXT


def test_a_text_is_cut_before_it_floods_the_conversation():
    assert len(run([talkative], "talkative").text) < MAX_TEXT + 20


def test_the_same_call_has_the_same_fingerprint_however_it_is_written():
    box = Toolbox.of([locate])

    def fingerprint(arguments, shown=1):
        return box.fingerprint(ToolCall(id="x", name="locate", arguments=arguments), shown)

    same = fingerprint({"bbox_2d": [1, 2, 3, 4]})
    assert fingerprint({"label": "it", "bbox_2d": [1.0, 2, 3, 4.0]}) == same
    assert fingerprint({"bbox_2d": [1, 2, 3, 4], "image": 1}, shown=2) == same
    assert fingerprint({"bbox_2d": [1, 2, 3, 4]}, shown=2) != same
    assert fingerprint({"bbox_2d": "?"}) == fingerprint({"bbox_2d": "?"})
