"""A first turn that is not the policy's own: how an evaluation makes the right call, and lets the policy go on."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..policy import Concluding, Conversation, Policy, Reply
from ..protocol import write
from ..token_family import Corners
from ..view import Box, View
from ..visual_tokens import Family
from .wrapped import Wrapped

MARGIN = 1 / 15  # of the picture's longer side, left around the evidence: a crop to the pixel loses what frames it
GRID = 40  # scripted boxes lie on a grid of 1/40 of the picture: small policies speak no finer coordinates
FORCED_THOUGHT = "Too small to read."


@dataclass(frozen=True)
class Script:
    """A call of `tool`; with `evidence` (pixels of the first image), on that box and a margin around it."""

    tool: str
    evidence: Corners | None = None

    def text(self, glance: View, family: Family, images: int) -> str:
        """The turn as the policy would write it after `glance`, the first of `images`, in `family`'s terms.

        Raises `ConfigError` where the evidence lies outside the image.
        """
        arguments: dict[str, Any] = {}
        if self.evidence is not None:
            width, height = glance.size
            x0, y0, x1, y1 = glance.from_source(padded(self.evidence, glance.source_size))
            fractions = (x0 / width, y0 / height, x1 / width, y1 / height)
            arguments["bbox_2d"] = list(family.from_fractions(fractions, glance.size))
        if images > 1:
            arguments["image"] = 1
        return write(thought=FORCED_THOUGHT, calls=[(self.tool, arguments)])


def padded(evidence: Corners, size: tuple[int, int]) -> Box:
    """The evidence with `MARGIN` around it, on the `GRID`, cut at the borders of a picture of `size` pixels."""
    margin = MARGIN * max(size)
    steps = [
        round((corner + side) / length * GRID)  # nearest: half a step is less than the margin
        for corner, side, length in zip(evidence, (-margin, -margin, margin, margin), size * 2, strict=True)
    ]
    x0, y0, x1, y1 = (min(max(step, 0), GRID) * length / GRID for step, length in zip(steps, size * 2, strict=True))
    if x0 >= x1 or y0 >= y1:
        raise ConfigError(f"the evidence {evidence} lies outside the first image, {size[0]} x {size[1]}: mend the row")
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


first_turn: ContextVar[Script | None] = ContextVar("first_turn", default=None)
"""The script of the question that is being asked: another one about the same images may have another."""


class ScriptedFirstTurn(Wrapped):
    """A policy whose first turn is read from the script in `first_turn`; every other turn is the wrapped policy's."""

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The script's turn where nothing was said yet, else the wrapped policy's."""
        script = first_turn.get()
        if script is None or any(message.role == "assistant" for message in conversation.messages):
            return await self.policy.reply(conversation, seed=seed)
        asked = next(message for message in conversation.messages if message.role == "user")
        return Reply(text=script.text(asked.images[0].view, self.family, len(asked.images)))


class _ConcludingScript(ScriptedFirstTurn):
    policy: Concluding  # type: ignore[assignment]

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        return await self.policy.conclude(conversation, seed=seed)


def scripted(policy: Policy) -> ScriptedFirstTurn:
    """`policy` with scripts for its first turns, which can be made to answer where `policy` can."""
    return (_ConcludingScript if isinstance(policy, Concluding) else ScriptedFirstTurn)(policy)
