"""One question under one strategy, and how it went: a line of `trajectories.jsonl`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, computed_field

from ..messages import ILL_FORMED_CALLS, Observation, Trajectory
from ..rows import Row
from ..view import Box


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
    `visual_tokens`: of all views; of pruned ones, times the share of the language model's layers that saw them.
    `called`: whether there was a call, scripted or not. `forced`: the first turn was scripted, not the policy's own; of
    its own calls, `well_formed` and `ill_formed` are counted, and `boxes` says of each zoom_crop whether it holds the
    whole evidence (where the row names it). `seconds`: wall time, None where a reply was read from a cache. `cost`: US
    dollars, None where the price is not known. `trajectory`: None where there is none, or it was left in the file.
    """

    model_config = ConfigDict(frozen=True)

    row: str
    strategy: str
    asked: str
    kind: Literal["coarse", "fine"] | None = None
    scene: str | None = None
    question: str
    references: tuple[str, ...]
    answer: str | None = None
    score: float | None = None
    trouble: Trouble | None = None
    detail: str | None = None
    visual_tokens: float = 0.0
    full_resolution_tokens: int = 0
    turns: int = 0
    called: bool = False
    forced: bool = False
    well_formed: int = 0
    ill_formed: int = 0
    boxes: tuple[bool, ...] = ()
    seconds: float | None = None
    cost: float | None = None
    trajectory: Trajectory | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def correct(self) -> bool | None:
        """Whether it scores more than a half; None without a score."""
        return None if self.score is None else self.score > 0.5

    @property
    def ran(self) -> bool:
        """Whether the policy came to an end of its own."""
        return self.trouble in (None, Trouble.NO_VERDICT)

    @classmethod
    def about(cls, row: Row, strategy: str, asked: str, **more: Any) -> Outcome:
        """That of `row`, without a trajectory."""
        return cls(
            row=row.id,
            strategy=strategy,
            asked=asked,
            kind=row.kind,
            scene=row.scene,
            question=row.prompt,
            references=row.references,
            **more,
        )

    def ended_as(
        self, trajectory: Trajectory, row: Row, *, forced: bool, processed: float, remembered: bool
    ) -> Outcome:
        """With what came of asking. `processed`: the share of the views' tokens that was worked on."""
        usage, own = trajectory.usage, trajectory.turns[1 if forced else 0 :]
        well_formed, ill_formed = _own_calls(trajectory, forced=forced)
        figures = {
            "answer": trajectory.answer,
            "visual_tokens": usage.visual_tokens * processed,
            "full_resolution_tokens": usage.full_resolution_tokens,
            "turns": len(trajectory.turns),
            "called": any(turn.calls for turn in trajectory.turns),
            "forced": forced,
            "well_formed": well_formed,
            # A malformed turn that tried to call is one call: how many it meant nobody can tell.
            "ill_formed": ill_formed + sum(turn.problem is not None and "<tool_call>" in turn.text for turn in own),
            "boxes": _boxes(trajectory, row, forced=forced),
            "seconds": None if remembered else trajectory.seconds,
            "cost": usage.cost,
            "trajectory": trajectory,
        }
        return self.model_copy(update=figures)


def _own_calls(trajectory: Trajectory, *, forced: bool) -> tuple[int, int]:
    """How many calls of the policy's own, not of a script, were well-formed, and how many were not."""
    ids = {call.id for turn in trajectory.turns[1 if forced else 0 :] for call in turn.calls}
    refused = {
        step.call.id
        for step in trajectory.observations
        if step.call and step.failure and step.failure.kind in ILL_FORMED_CALLS
    }
    return len(ids - refused), len(ids & refused)


def _boxes(trajectory: Trajectory, row: Row, *, forced: bool) -> tuple[bool, ...]:
    """Does its box hold the evidence, for each zoom_crop of the policy's own? A failed call's does not."""
    if row.evidence is None:
        return ()
    evidence = Box.of(row.evidence)
    scripted = {call.id for turn in trajectory.turns[: int(forced)] for call in turn.calls}
    return tuple(
        _covers(step, evidence)
        for step in trajectory.observations
        if step.call is not None and step.call.name == "zoom_crop" and step.call.id not in scripted
    )


def _covers(step: Observation, evidence: Box) -> bool:
    # The evidence lies on the first image.
    return step.view is not None and step.view.source == 0 and step.view.box.contains(evidence)
