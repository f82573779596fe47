"""Looking at a white picture with tools."""

import asyncio

from PIL import Image

from agentic_vision import (
    Source,
    Toolbox,
    View,
    family,
)
from agentic_vision.messages import ToolCall
from agentic_vision.toolbox import Look

PIXELS, PER_MILLE = family("qwen2.5-vl"), family("qwen3-vl")


def look(*views: View, family=PER_MILLE, size=(1000, 500)) -> Look:
    source = Source.open(Image.new("RGB", size, "white"))
    return Look(views or (View.whole(size, (500, 250)),), (source,), family, "What is it?")


def run(tools, name, arguments=None, at: Look | None = None, **options):
    call = ToolCall(id="call_1", name=name, arguments=arguments or {})
    return asyncio.run(Toolbox.of(tools).run(call, at or look(), **options))
