"""Every row read once, before a GPU hour is spent: broken images, answers missing, prompts too long.

A row's prompt is the very conversation that the agent will begin: its graph is run, with a policy that renders the
images and counts the tokens, and answers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agentic_vision import VisionAgent
from agentic_vision.errors import AgenticVisionError, ConfigError, ImageError
from agentic_vision.messages import StopReason
from agentic_vision.policies.encoding import Encoder, encoder_for
from agentic_vision.policies.weights import load_reader
from agentic_vision.policy import Conversation, PromptStyle, Reply
from agentic_vision.protocol import write
from agentic_vision.rows import Fault, Row
from agentic_vision.visual_tokens import Family, family

from ..recipe import Recipe

SHOWN = 5  # examples of each kind of trouble


@dataclass
class Preflight:
    """What was found. `troubles`: kind -> what was wrong with which row; `prompt_tokens` of the good rows."""

    rows: int = 0
    good: list[Row] = field(default_factory=list)
    troubles: dict[str, list[str]] = field(default_factory=dict)
    prompt_tokens: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, what: str) -> None:
        self.troubles.setdefault(kind, []).append(what)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, the first of each kind of trouble, and how long prompts are."""
        lengths = sorted(self.prompt_tokens)
        return {
            "rows": self.rows,
            "good": len(self.good),
            "kinds": dict(self.kinds),
            "prompt_tokens": {"median": lengths[len(lengths) // 2], "longest": lengths[-1]} if lengths else None,
            "troubles": {kind: {"rows": len(found), "first": found[:SHOWN]} for kind, found in self.troubles.items()},
        }

    def check(self, path: object) -> None:
        """Raises `ConfigError` where any row is in trouble: a table of what was found."""
        if self.troubles:
            found = "; ".join(f"{len(rows)} x {kind} ({rows[0]})" for kind, rows in self.troubles.items())
            raise ConfigError(
                f"{path}: {self.rows - len(self.good)} of {self.rows} rows cannot be trained on: {found}; mend them, "
                "or leave them out with `agentic-vision data verl --drop`"
            )


@dataclass
class _Counting:
    """A policy that counts what it would read, and answers."""

    encoder: Encoder
    family: Family
    style: PromptStyle
    tokens: int = 0

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        pieces = self.encoder.pieces(conversation)
        sizes = [part.render().size for part in conversation.images]
        self.tokens = len(self.encoder.token_ids(pieces, map(self.family.tokens, sizes), {}))
        return Reply(text=write(answer="-"))

    def forget(self, conversation_id: str) -> None:
        pass


def preflight(
    rows: Iterable[Row | Fault], recipe: Recipe, model: str, progress: Callable[[int], None] | None = None
) -> Preflight:
    """Reads every row as the agent of `recipe` on `model` (a folder or a hub name) would."""
    reader = load_reader(model)
    settings = recipe.agent
    counting = _Counting(
        encoder_for(reader.tokenizer, reader.image_processor, reader.config),
        family(settings.family) if settings.family else reader.family,
        settings.style,
    )
    agent = settings.agent(counting)
    report, seen = Preflight(), set()
    for row in rows:
        report.rows += 1
        if progress:
            progress(report.rows)
        if isinstance(row, Fault):
            report.note("unreadable row", f"row {row.line}: {row.reason}")
            continue
        trouble = _trouble(row, agent, counting, recipe.prompt_length)
        if row.id in seen:
            trouble = ("id comes twice", row.id)
        if trouble:
            report.note(*trouble)
            continue
        seen.add(row.id)
        report.good.append(row)
        report.prompt_tokens.append(counting.tokens)
        report.kinds[row.kind or "all"] += 1
    return report


def _trouble(row: Row, agent: VisionAgent, counting: _Counting, most: int) -> tuple[str, str] | None:
    try:
        result = agent.ask(list(row.images), row.prompt)
    except ImageError as error:
        return "broken image", f"{row.id}: {error}"
    except AgenticVisionError as error:
        return "cannot be asked", f"{row.id}: {error}"
    if result.stop_reason is not StopReason.ANSWERED:
        return result.stop_reason.replace("_", " "), f"{row.id}: {result.trajectory.detail}"
    if counting.tokens > most:
        return "prompt too long", f"{row.id}: {counting.tokens} tokens, prompt_length is {most}"
    return None
