"""Whatever a model gives to a tool comes back as an observation with a typed failure, or as a view; and soon."""

import asyncio
import sys
import time

import pytest
from PIL import Image
from tool_calls import look

from agentic_vision import Toolbox, View, family
from agentic_vision.messages import FailureKind, Observation, ToolCall
from agentic_vision.toolbox import CallScope

NAN, INF = float("nan"), float("inf")
TOOLS = ("zoom_crop", "full_res", "resize", "rotate", "enhance")
FAILED = {FailureKind.BAD_ARGUMENTS, FailureKind.OUTSIDE_IMAGE}

DEEP: list[object] = []
for _ in range(sys.getrecursionlimit() * 3):
    DEEP = [DEEP]
WRONG: dict[str, object] = {
    "nothing": None,
    "text": "all of it",
    "empty text": "",
    "long text": "9" * 2_000_000,
    "number": 5,
    "nan": NAN,
    "infinity": INF,
    "1e308": 1e308,
    "huge integer": 10**5000,
    "true": True,
    "object": {"x0": 0, "y0": 0, "x1": 9, "y1": 9},
    "empty object": {},
    "empty list": [],
    "three": [0, 0, 9],
    "five": [0, 0, 9, 9, 9],
    "very many": [0.0] * 300_000,
    "very many lists": [[0, 0, 9, 9]] * 100_000,
    "nested": DEEP,
    "list of text": ["a", "b", "c", "d"],
    "list of nothing": [None] * 4,
    "list of nan": [NAN, NAN, NAN, NAN],
    "one nan": [0, 0, 9, NAN],
    "infinities": [-INF, -INF, INF, INF],
    "one infinity": [0, 0, INF, 9],
    "reversed": [900, 900, 100, 100],
    "reversed across": [900, 100, 100, 900],
    "no area": [500, 500, 500, 500],
    "a line": [100, 500, 900, 500],
    "negative": [-500, -500, -100, -100],
    "far away": [1e308, 1e308, 1.1e308, 1.1e308],
    "far away below": [-1.1e308, -1.1e308, -1e308, -1e308],
    "denormal": [0, 0, 5e-324, 5e-324],
    "huge integers": [0, 0, 10**400, 10**400],
    "wide integers": [10**5000] * 4,
}
MENDED: dict[str, list[float]] = {
    "beyond the image": [-1e308, -1e308, 1e308, 1e308],
    "beyond on one side": [500, 500, 5e300, 700],
    "a hair": [500, 500, 500.0001, 500.0001],
}


def call(name: str, arguments: dict[str, object], at: CallScope | None = None) -> Observation:
    started = time.process_time()
    seen = asyncio.run(Toolbox.of(TOOLS).run(ToolCall(id="call_1", name=name, arguments=arguments), at or look()))
    assert time.process_time() - started < 2
    assert len(seen.failure.message if seen.failure else "") < 2000
    return seen


@pytest.mark.parametrize("what", WRONG)
def test_a_box_that_is_none(what: str) -> None:
    seen = call("zoom_crop", {"bbox_2d": WRONG[what]})
    assert seen.view is None
    assert seen.failure is not None
    assert seen.failure.kind in FAILED


@pytest.mark.parametrize("model", ["qwen2.5-vl", "qwen3-vl"])
@pytest.mark.parametrize("what", MENDED)
def test_a_box_that_reaches_beyond_is_clipped(what: str, model: str) -> None:
    view = call("zoom_crop", {"bbox_2d": MENDED[what]}, look(View.whole((1000, 500)), family=family(model))).view
    assert view is not None
    assert View.whole((1000, 500)).box.contains(view.box)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("what", WRONG)
def test_an_argument_that_the_tool_has_not(tool: str, what: str) -> None:
    arguments: dict[str, object] = {"bbox_2d": [0, 0, 500, 500]} if tool == "zoom_crop" else {}
    seen = call(tool, {**arguments, "colour": WRONG[what]})
    assert seen.failure is not None
    assert seen.failure.kind is FailureKind.BAD_ARGUMENTS


@pytest.mark.parametrize(("tool", "name"), [("rotate", "degrees"), ("enhance", "contrast"), ("full_res", "image")])
@pytest.mark.parametrize("what", [what for what in WRONG if what not in ("nothing",)])
def test_a_number_that_is_none(tool: str, name: str, what: str) -> None:
    value = WRONG[what]
    if (name, what) in (("contrast", "number"), ("contrast", "true"), ("image", "true")):
        value = -5  # those would be right
    seen = call(tool, {name: value})
    assert seen.failure is not None
    assert seen.failure.kind is FailureKind.BAD_ARGUMENTS


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("value", [0, -1, 2, 10**30, 1.5, INF, "first", [1]])
def test_an_image_that_was_not_shown(tool: str, value: object) -> None:
    arguments: dict[str, object] = {"zoom_crop": {"bbox_2d": [0, 0, 9, 9]}, "rotate": {"degrees": 90}}.get(tool, {})
    seen = call(tool, {**arguments, "image": value})
    assert seen.failure is not None
    assert seen.failure.kind is FailureKind.BAD_ARGUMENTS


def test_a_hundred_thousand_arguments() -> None:
    seen = call("zoom_crop", {f"a{number}": number for number in range(100_000)})
    assert seen.failure is not None
    assert seen.failure.kind is FailureKind.BAD_ARGUMENTS


@pytest.mark.parametrize("name", ["", " ", "zoom_crop\0", "../zoom_crop", "__init__", "x" * 1_000_000, "\udcff"])
def test_a_tool_that_is_none(name: str) -> None:
    seen = call(name, {})
    assert seen.failure is not None
    assert seen.failure.kind is FailureKind.UNKNOWN_TOOL


def test_what_is_seen_of_a_box_can_be_drawn() -> None:
    source = look().sources[0]
    for corners in MENDED.values():
        view = call("zoom_crop", {"bbox_2d": corners}).view
        assert view is not None
        assert isinstance(view.render(source), Image.Image)
