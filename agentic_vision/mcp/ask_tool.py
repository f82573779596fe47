"""`ask`: the whole agent as one tool. It looks at the images as often as it must, and only its answer comes back.

The agent is made with the first question: its weights, and torch, take seconds to load.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
from mcp.types import CallToolResult, Tool
from pydantic import Field, StringConstraints

from ..messages import Turn
from ..result import DoneEvent, TurnEvent
from .results import Arguments, failed, said, validated
from .roots import Roots, hints

if TYPE_CHECKING:
    from ..agent import VisionAgent

ASK = "ask"
AT_ONCE = 8  # questions; the others wait
MOST_IMAGES = 16  # of a question

Progress = Callable[[float, float, str], Awaitable[None]]
"""Is told of every turn: its number, how many there may be, and what the model did."""


class _AskArguments(Arguments):
    images: Annotated[list[str], Field(min_length=1, max_length=MOST_IMAGES)]
    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AskTool:
    """`make` gives the agent, whose questions have at most `max_turns` turns."""

    def __init__(self, make: Callable[[], VisionAgent], roots: Roots, max_turns: int) -> None:
        self._make, self._roots, self._max_turns = make, roots, max_turns
        self._agent: VisionAgent | None = None
        self._making = anyio.Lock()
        self._room = anyio.Semaphore(AT_ONCE)
        self.tool = _tool(roots)

    async def call(self, arguments: Mapping[str, Any], progress: Progress) -> CallToolResult:
        """The answer. Raises `AgenticVisionError` for what is wrong with the images, the arguments or the policy."""
        asked = validated(ASK, _AskArguments, arguments)
        async with self._room:
            images = [(await self._roots.aopen(image))[0] for image in asked.images]
            agent = await self._made()
            turns = 0
            async with aclosing(agent.astream(images, asked.question)) as events:
                async for event in events:
                    if isinstance(event, TurnEvent):
                        turns += 1
                        await progress(turns, max(turns, self._max_turns), _did(event.turn))
                    elif isinstance(event, DoneEvent):
                        return _answered(event)
        raise AssertionError("a stream of events ends with DoneEvent")

    async def _made(self) -> VisionAgent:
        async with self._making:
            if self._agent is None:
                self._agent = await anyio.to_thread.run_sync(self._make)
            return self._agent


def _did(turn: Turn) -> str:
    if turn.problem is not None:
        return "is told that its turn was malformed"
    return f"calls {', '.join(call.name for call in turn.calls)}" if turn.calls else "answers"


def _answered(event: DoneEvent) -> CallToolResult:
    found = event.result.trajectory
    told = {
        "answer": found.answer,
        "stop_reason": found.stop_reason.value,
        "visual_tokens": found.usage.visual_tokens,
        "full_resolution_tokens": found.usage.full_resolution_tokens,
        "saved": found.usage.saved,
    }
    if found.answer is None:
        return failed(f"There is no answer ({found.stop_reason.value}): {found.detail}.", told)
    return said(found.answer, told)


def _tool(roots: Roots) -> Tool:
    inputs = {
        "images": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MOST_IMAGES,
            "description": f"What the question is about: for each image a path inside {roots}, or {roots.kinds}.",
        },
        "question": {"type": "string", "description": "The question, complete in itself."},
    }
    outputs = {
        "answer": {"type": ["string", "null"]},
        "stop_reason": {"type": "string", "description": "answered, or the limit that ended the looking."},
        "visual_tokens": {"type": "integer", "description": "Visual tokens of all that was looked at."},
        "full_resolution_tokens": {"type": "integer", "description": "Those of the images at full resolution."},
        "saved": {"type": "number", "description": "The share of the latter that was saved; negative: spent on top."},
    }
    return Tool(
        name=ASK,
        description=(
            "Ask a vision agent a question about one or several images and get its answer. It looks at them by itself, "
            "first coarsely, then closer where it must; you see none of it and pay for no image."
        ),
        input_schema={"type": "object", "properties": inputs, "required": [*inputs], "additionalProperties": False},
        output_schema={"type": "object", "properties": outputs, "required": [*outputs]},
        annotations=hints(roots),
    )
