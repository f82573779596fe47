"""Looking at a white picture with tools."""

# ruff: noqa: ARG001 (a tool takes the view, whether or not it needs it)

import asyncio

from PIL import Image

from agentic_vision import Box, Source, Toolbox, View, family, visual_tool
from agentic_vision.messages import ToolCall
from agentic_vision.toolbox import CallScope

PIXELS, PER_MILLE = family("qwen2.5-vl"), family("qwen3-vl")


@visual_tool
def locate(view: View, bbox_2d: Box, label: str = "it") -> str:
    """Say where a region lies.

    Args:
        bbox_2d: The region.
        label: What to call it,
            in a word.
    """
    return f"{label}: {bbox_2d.as_tuple()}"


@visual_tool
async def slow(view: View, seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "done"


def look(*views: View, family=PER_MILLE, size=(1000, 500)) -> CallScope:
    source = Source.open(Image.new("RGB", size, "white"))
    return CallScope(views or (View.whole(size, (500, 250)),), (source,), family, "What is it?")


def run(tools, name, arguments=None, at: CallScope | None = None, **options):
    call = ToolCall(id="call_1", name=name, arguments=arguments or {})
    return asyncio.run(Toolbox.of(tools).run(call, at or look(), **options))
