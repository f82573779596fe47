"""One question under one strategy, and how it went: a line of `trajectories.jsonl`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from ..messages import Trajectory


class Trouble(StrEnum):
    """Why an outcome has no score. What is in trouble counts in no accuracy, and the next run tries it again."""

    BAD_ROW = "bad_row"
    """An image is broken or gone, or the row contradicts itself."""
    POLICY_FAILED = "policy_failed"
    NO_VERDICT = "no_verdict"
    """It was answered, but the judge did not come to a verdict: the next run asks the judge alone."""


class Outcome(BaseModel):
    """How a question went under a strategy. Every figure of an evaluation is computed from these alone.

    `asked`: the digest of row and settings. `score` is from 0 to 1, None in `trouble`, which `detail` explains.
    `forced`: the first turn was scripted, not the policy's own. `remembered`: a reply was read from a cache, so that
    its time says nothing. `processed`: the share of the views' tokens that the language model's layers worked on, on
    average; less than 1 where they were pruned.
    """

    model_config = ConfigDict(frozen=True)

    row: str
    strategy: str
    asked: str
    kind: Literal["coarse", "fine"] | None = None
    scene: str | None = None
    references: tuple[str, ...]
    answer: str | None = None
    score: float | None
    trouble: Trouble | None = None
    detail: str | None = None
    forced: bool = False
    remembered: bool = False
    processed: float = 1.0
    evidence: tuple[float, float, float, float] | None = None
    trajectory: Trajectory | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def correct(self) -> bool | None:
        """Whether it scores more than a half; None without a score."""
        return None if self.score is None else self.score > 0.5

    @property
    def visual_tokens(self) -> float:
        """Spent on the views, pruning considered."""
        return self.trajectory.usage.visual_tokens * self.processed if self.trajectory else 0.0

    @property
    def full_resolution_tokens(self) -> int:
        """What the images would have cost at full resolution."""
        return self.trajectory.usage.full_resolution_tokens if self.trajectory else 0

    @property
    def called(self) -> bool:
        """Whether there was a call, scripted or not."""
        return self.trajectory is not None and any(turn.calls for turn in self.trajectory.turns)
