"""The ways of answering that an evaluation compares, on one policy and one graph.

| strategy | what happens |
|---|---|
| `glance` | no tools, the image at a glance |
| `full` | no tools, the image at full resolution |
| `resize` | no tools, the image at a given share of its full visual tokens |
| `right_crop` | a glance, a scripted zoom_crop on the padded evidence box, then the policy goes on |
| `random` | a coin, fixed by seed and row id, decides: `glance` or `right_crop` |
| `agent` | the policy decides by itself |
| `oracle` | the row's cheapest sufficient tool: none (`glance`), or a scripted call of it |
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..policy import Conversation, Policy, PromptStyle, Reply
from ..protocol import write
from ..rows import Row
from ..source import Source
from ..view import Box, View
from ..visual_tokens import Family

MARGIN = 1 / 15  # of the picture's longer side, left around the evidence: a crop to the pixel loses what frames it
GRID = 40  # scripted boxes lie on a grid of 1/40 of the picture: small policies speak no finer coordinates
STRATEGIES = ("glance", "full", "resize", "right_crop", "random", "agent", "oracle")
FORCED_THOUGHT = "Too small to read."


@dataclass(frozen=True)
class Script:
    """A first turn that is not the policy's own: a call of `tool`, on `box` (pixels of the first image)."""

    tool: str
    box: Box | None = None

    def text(self, glance: View, family: Family, images: int) -> str:
        """The turn as the policy would write it after `glance`, the first of `images`, in `family`'s
        terms."""
        arguments: dict[str, Any] = {}
        if self.box is not None:
            width, height = glance.size
            x0, y0, x1, y1 = glance.from_source(self.box)
            fractions = (x0 / width, y0 / height, x1 / width, y1 / height)
            arguments["bbox_2d"] = list(family.from_fractions(fractions, glance.size))
        if images > 1:
            arguments["image"] = 1
        return write(thought=FORCED_THOUGHT, calls=[(self.tool, arguments)])


@dataclass(frozen=True)
class Plan:
    """How one row is asked. `share`: of the full visual tokens, for the first view; None: the usual
    glance."""

    tools: bool
    share: float | None = None
    script: Script | None = None


class ScriptedFirstTurn:
    """A policy whose first turn is read from a script; every other turn is the wrapped policy's.

    A conversation is recognised by its question and images, which is all that it and its row have in common.
    """

    def __init__(self, policy: Policy, scripts: Iterable[tuple[Row, Script]]) -> None:
        self._policy = policy
        self._scripts: dict[tuple[str, ...], Script] = {}
        for row, script in scripts:
            self._scripts[(row.question, *(Source.open(image).digest for image in row.images))] = script

    @property
    def family(self) -> Family:
        return self._policy.family

    @property
    def style(self) -> PromptStyle:
        return self._policy.style

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The script's turn where nothing was said yet, else the wrapped policy's."""
        if any(message.role == "assistant" for message in conversation.messages):
            return await self._policy.reply(conversation, seed=seed)
        asked = next(message for message in conversation.messages if message.role == "user")
        script = self._scripts[(asked.text, *(image.source.digest for image in asked.images))]
        return Reply(text=script.text(asked.images[0].view, self.family, len(asked.images)))

    def forget(self, conversation_id: str) -> None:
        """Passed on."""
        self._policy.forget(conversation_id)


def plan(strategy: str, row: Row, *, size: tuple[int, int], share: float, seed: int) -> Plan:
    """How `strategy` asks `row`, whose first image is `size` pixels; `share` is what `resize` shows, `seed`
    the coin's.

    Raises `ConfigError` for a strategy that does not exist, or one that needs what the row does not say.
    """
    match strategy:
        case "glance":
            return Plan(tools=False)
        case "full":
            return Plan(tools=False, share=1.0)
        case "resize":
            return Plan(tools=False, share=share)
        case "right_crop":
            return Plan(tools=True, script=Script("zoom_crop", _padded_evidence(row, size)))
        case "random":
            coin = hashlib.sha256(f"{seed}:{row.id}".encode()).digest()[0] % 2
            return plan(("glance", "right_crop")[coin], row, size=size, share=share, seed=seed)
        case "agent":
            return Plan(tools=True)
        case "oracle":
            if row.sufficient is None:
                raise ConfigError(
                    f"row {row.id!r} does not say which tool is sufficient: leave the strategy oracle out"
                )
            if row.sufficient.tool is None:
                return Plan(tools=False)
            takes_box = row.sufficient.tool == "zoom_crop"
            return Plan(
                tools=True,
                script=Script(row.sufficient.tool, _padded_evidence(row, size) if takes_box else None),
            )
    raise ConfigError(f"there is no strategy {strategy!r}: choose from {', '.join(STRATEGIES)}")


def _padded_evidence(row: Row, size: tuple[int, int]) -> Box:
    """The evidence box with `MARGIN` around it, on the `GRID`, cut at the picture's borders."""
    if row.evidence is None:
        raise ConfigError(f"row {row.id!r} has no evidence box: leave out the strategies that crop it")
    margin = MARGIN * max(size)
    steps = [
        round((corner + side) / length * GRID)  # nearest: half a step is less than the margin
        for corner, side, length in zip(row.evidence, (-margin, -margin, margin, margin), size * 2, strict=True)
    ]
    x0, y0, x1, y1 = (min(max(step, 0), GRID) * length / GRID for step, length in zip(steps, size * 2, strict=True))
    if x0 >= x1 or y0 >= y1:
        raise ConfigError(f"row {row.id!r} has its evidence outside its first image: mend the row")
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)
