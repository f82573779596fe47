"""What the agent gives back: a `Result`, and the events of a stream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from .messages import Observation, StopReason, Trajectory, Turn, Usage
from .source import ImageLike, Source


@dataclass(frozen=True)
class Result:
    """The answer, if there is one, and how it came about. `images` are the question's, as given (URLs: as fetched)."""

    trajectory: Trajectory
    images: Sequence[ImageLike | Source] = field(default=(), repr=False)

    @property
    def answer(self) -> str | None:
        """The answer; None where there is none, which `stop_reason` explains."""
        return self.trajectory.answer

    @property
    def stop_reason(self) -> StopReason:
        """Why the loop ended."""
        return self.trajectory.stop_reason

    @property
    def usage(self) -> Usage:
        """What it cost, and what full resolution would have cost."""
        return self.trajectory.usage

    def save_trace(self, path: str | os.PathLike[str]) -> Path:
        """Write what the agent saw, thought and called as one HTML page, and return its path."""
        from .trace import save_trace

        return save_trace(self.trajectory, self.images, path)

    def _repr_html_(self) -> str:
        """The same in brief, which a notebook shows for a result."""
        from .notebook import result_html

        return result_html(self.trajectory, self.images)


@dataclass(frozen=True)
class GlanceEvent:
    """An image was shown for the first time."""

    observation: Observation


@dataclass(frozen=True)
class TextEvent:
    """The model is speaking: the next piece of a turn's raw text. Only where it was asked for, and the policy streams.

    The turn comes whole afterwards; it may be another one where a limit made the model answer.
    """

    text: str


@dataclass(frozen=True)
class TurnEvent:
    """The model said something."""

    turn: Turn


@dataclass(frozen=True)
class ObservationEvent:
    """Something came back: a view, a text, or what was wrong."""

    observation: Observation


@dataclass(frozen=True)
class DoneEvent:
    """The end; always the last event."""

    result: Result


Event: TypeAlias = GlanceEvent | TextEvent | TurnEvent | ObservationEvent | DoneEvent
