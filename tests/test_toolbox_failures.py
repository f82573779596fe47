"""A call that fails, hangs or is wrong: what the model is told, and that nothing else breaks."""

# ruff: noqa: ARG001 (a tool takes the view, whether or not it needs it)

import asyncio
import itertools
import json
import os
import subprocess
import sys
from typing import Annotated

import pytest
from endpoint_agent import RECEIPT
from endpoints import Scripted, chat
from PIL import Image
from pydantic import AfterValidator
from scripted_agent import ANSWER
from tool_calls import PER_MILLE, locate, run

from agentic_vision import (
    Toolbox,
    ToolError,
    View,
    VisionAgent,
    visual_tool,
)
from agentic_vision.messages import FailureKind, ToolCall
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.tool import VisualTool

# Failures tell what to do next


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "says"),
    [
        ("zoom", {}, FailureKind.UNKNOWN_TOOL, "The tools are: locate"),
        ("locate", {}, FailureKind.BAD_ARGUMENTS, "bbox_2d, label (optional)"),
        ("locate", {"bbox_2d": [0, 0, 9, 9], "colour": 1}, FailureKind.BAD_ARGUMENTS, "colour"),
        ("locate", {"bbox_2d": [0, 0, 9, 9], **dict.fromkeys("abcde", 1)}, FailureKind.BAD_ARGUMENTS, "; and 2 more. "),
        (
            "locate",
            {"bbox_2d": [0, 0, 9, 9], "image": 2},
            FailureKind.BAD_ARGUMENTS,
            "images 1 to 1 were shown",
        ),
        ("locate", {"bbox_2d": [0, 0, 9, 9], "image": 0}, FailureKind.BAD_ARGUMENTS, "image"),
    ],
)
def test_a_wrong_call_is_told_what_would_be_right(name, arguments, kind, says):
    failure = run([locate], name, arguments).failure
    assert failure.kind is kind
    assert says in failure.message


def test_without_tools_the_model_is_told_so():
    assert "There are none" in run([], "zoom").failure.message


@visual_tool
def refuses(view: View) -> View:
    """Refuse."""
    raise ToolError("the page is blank", hint="turn it over")


@visual_tool
def breaks(view: View) -> View:
    """Break."""
    raise KeyError("no such thing")


@visual_tool
async def breaks_async(view: View) -> View:
    """Break."""
    raise asyncio.CancelledError


@visual_tool
def exits(view: View) -> View:
    """Try to end the process."""
    sys.exit(3)


@visual_tool
async def exits_async(view: View) -> View:
    """Try to end the process."""
    sys.exit(3)


def test_a_tool_error_is_passed_on_with_its_hint():
    failure = run([refuses], "refuses").failure
    assert (failure.kind, failure.message) == (
        FailureKind.TOOL_RAISED,
        "refuses: the page is blank. turn it over.",
    )


class OddError(BaseException):
    """No exception that anybody expects."""


class MuteError(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise ValueError("nor this")


def raising(error: BaseException) -> list[VisualTool]:
    def raises(view: View) -> str:
        """Raise."""
        raise error

    async def raises_async(view: View) -> str:
        """Raise."""
        raise error

    return [VisualTool(raises), VisualTool(raises_async)]


ODD = [
    TimeoutError("no answer"),
    KeyboardInterrupt(),
    GeneratorExit(),
    OddError(),
    MuteError(),
    StopIteration(),
    MemoryError(),
]


@pytest.mark.parametrize("tool", [breaks, breaks_async, exits, exits_async, *itertools.chain(*map(raising, ODD))])
def test_whatever_a_tool_raises_is_a_failure(tool):
    failure = run([tool], tool.name).failure
    assert failure.kind is FailureKind.TOOL_RAISED
    assert "or answer" in failure.message


def _breaks(value: int) -> int:
    raise KeyError(value)


@visual_tool
def checks_badly(view: View, digit: Annotated[int, AfterValidator(_breaks)]) -> str:
    """Have a validator that breaks."""


@visual_tool
def ends_it(view: View, digit: Annotated[int, AfterValidator(sys.exit)]) -> str:
    """Have a validator that ends the process."""


def test_what_a_validator_raises_is_a_failure_too():
    assert run([checks_badly], "checks_badly", {"digit": 7}).failure.kind is FailureKind.TOOL_RAISED
    assert run([ends_it], "ends_it", {"digit": 7}).failure.kind is FailureKind.TOOL_RAISED
    call = ToolCall(id="call_1", name="checks_badly", arguments={"digit": 7})
    assert Toolbox.of([checks_badly]).fingerprint(call, 1) == ("checks_badly", "[('digit', 7)]")


@visual_tool
def returns_number(view: View) -> int:
    """Return a number."""
    return 3


@visual_tool
def returns_nothing(view: View) -> str:
    """Return an empty text."""
    return " "


@visual_tool
def returns_stranger(view: View) -> View:
    """Return a view of another picture."""
    return View.whole((3, 3))


@pytest.mark.parametrize("tool", [returns_number, returns_nothing, returns_stranger])
def test_a_result_that_cannot_be_shown_or_replayed_is_a_failure(tool):
    assert run([tool], tool.name).failure.kind is FailureKind.BAD_RESULT


# Too large


@visual_tool
def returns_picture(view: View) -> str:
    """Return 100 megapixels."""
    return Image.new("1", (10_000, 10_000))


@visual_tool
def returns_huge_view(view: View) -> View:
    """Return a view of 100 megapixels."""
    return view.resized((10_000, 10_000))


@visual_tool
def returns_book(view: View) -> str:
    """Return 20 MB of text."""
    return "word " * 4_000_000


def test_what_is_too_large_is_refused_cut_or_shown_as_large_as_the_model_takes():
    failure = run([returns_picture], "returns_picture").failure
    assert (failure.kind, "returned a Image" in failure.message) == (FailureKind.BAD_RESULT, True)
    shown = run([returns_huge_view], "returns_huge_view").view
    assert shown.size == PER_MILLE.full((10_000, 10_000))
    assert len(run([returns_book], "returns_book").text) < 8100


def test_the_budget_holds_whatever_tools_return(picture):
    tools = [returns_picture, returns_huge_view]
    script = [write(calls=[(tool.name, {}) for tool in tools]), ANSWER]
    budget = 500
    result = VisionAgent(ScriptedPolicy(script), tools=tools, max_visual_tokens=budget).ask(picture, "Which number?")
    assert result.answer == "417"
    assert result.usage.visual_tokens <= budget
    kinds = [seen.failure.kind for seen in result.trajectory.observations if seen.failure]
    assert kinds == [FailureKind.BAD_RESULT, FailureKind.OVER_BUDGET]


# What it prints


NOISY = """
import os
from agentic_vision import View, visual_tool

@visual_tool
def shout(view: View) -> str:
    "Print."
    print("HERE I AM", flush=True)
    os.system("echo SO AM I")
    return "done"
"""


def test_what_a_tool_prints_is_not_on_the_stdout_that_programs_read(tmp_path):
    about = tmp_path / "noisy-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[agentic_vision.tools]\nshout = noisy:shout\n")
    (tmp_path / "noisy.py").write_text(NOISY)
    with Scripted([chat(write(calls=[("shout", {})])), chat(ANSWER)]).serving() as url:
        command = ["ask", str(RECEIPT), "What?", "--tools", "shout", "--policy", "m", "--base-url", url, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "agentic_vision", *command],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OPENAI_API_KEY": "k", "PYTHONPATH": str(tmp_path)},
        )
    told = json.loads(done.stdout)
    assert told["answer"] == "417"
    assert told["tool_calls"][0]["ok"]
    assert "HERE I AM" in done.stderr
    assert "SO AM I" in done.stderr
