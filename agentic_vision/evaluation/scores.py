"""What an evaluation measures: accuracy with its confidence interval, visual tokens, calls, boxes.

Every figure is computed from `Outcome`s alone: a `trajectories.jsonl` is enough to compute them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..messages import ILL_FORMED_CALLS, Observation, Trajectory
from ..view import Box


class Outcome(BaseModel):
    """One question under one strategy: a line of `trajectories.jsonl`.

    `forced`: the first turn was scripted, not the policy's own. `seconds`: the batch's wall time a question.
    """

    model_config = ConfigDict(frozen=True)

    row: str
    strategy: str
    kind: Literal["coarse", "fine"] | None
    scene: str | None
    reference: str
    answer: str | None
    correct: bool
    forced: bool
    evidence: tuple[float, float, float, float] | None
    seconds: float
    trajectory: Trajectory


Interval = tuple[float, float]


class Scores(BaseModel):
    """The figures of one strategy; None where there is no question or call of that kind.

    Intervals are Wilson's at 95 %. `visual_tokens_ratio`: visual tokens spent over those of full resolution,
    both summed over the questions. `call_ratio`: the share of questions with a call. `malformed`: the share
    of the policy's own calls (`calls`) that were not well-formed. `box_covers_evidence`: the share of its
    zoom_crop calls on fine questions whose box holds the whole evidence. `no_answer`: the share that ended
    without an answer. `turns` and `seconds` (wall time) are means.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    accuracy: float | None
    accuracy_interval: Interval | None
    accuracy_coarse: float | None
    accuracy_coarse_interval: Interval | None
    accuracy_fine: float | None
    accuracy_fine_interval: Interval | None
    visual_tokens_ratio: float | None
    visual_tokens_ratio_coarse: float | None
    visual_tokens_ratio_fine: float | None
    call_ratio: float | None
    call_ratio_coarse: float | None
    call_ratio_fine: float | None
    calls: int
    malformed: float | None
    malformed_interval: Interval | None
    box_covers_evidence: float | None
    box_covers_evidence_interval: Interval | None
    no_answer: float | None
    turns: float | None
    seconds: float | None


def wilson(successes: int, n: int) -> Interval | None:
    """Wilson's score interval at 95 % for a share (E. B. Wilson, JASA 1927); None for no trials.

    >>> tuple(round(bound, 3) for bound in wilson(90, 100))
    (0.826, 0.945)
    """
    if n == 0:
        return None
    z = 1.959964
    share, denominator = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / denominator
    margin = z / denominator * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The share lies inside, rounding errors apart, which at 0 and 1 would put it outside.
    return max(0.0, min(share, centre - margin)), min(1.0, max(share, centre + margin))


def score(outcomes: Sequence[Outcome]) -> Scores:
    """The figures of one strategy's outcomes."""
    coarse = [outcome for outcome in outcomes if outcome.kind == "coarse"]
    fine = [outcome for outcome in outcomes if outcome.kind == "fine"]
    well_formed, ill_formed = _own_calls(outcomes)
    covered = [covers for outcome in fine for covers in _boxes(outcome)]
    return Scores(
        n=len(outcomes),
        accuracy=_share(o.correct for o in outcomes),
        accuracy_interval=_interval(o.correct for o in outcomes),
        accuracy_coarse=_share(o.correct for o in coarse),
        accuracy_coarse_interval=_interval(o.correct for o in coarse),
        accuracy_fine=_share(o.correct for o in fine),
        accuracy_fine_interval=_interval(o.correct for o in fine),
        visual_tokens_ratio=_tokens_ratio(outcomes),
        visual_tokens_ratio_coarse=_tokens_ratio(coarse),
        visual_tokens_ratio_fine=_tokens_ratio(fine),
        call_ratio=_share(_called(o) for o in outcomes),
        call_ratio_coarse=_share(_called(o) for o in coarse),
        call_ratio_fine=_share(_called(o) for o in fine),
        calls=well_formed + ill_formed,
        malformed=ill_formed / (well_formed + ill_formed) if well_formed + ill_formed else None,
        malformed_interval=wilson(ill_formed, well_formed + ill_formed),
        box_covers_evidence=_share(covered),
        box_covers_evidence_interval=_interval(covered),
        no_answer=_share(o.answer is None for o in outcomes),
        turns=_share(len(o.trajectory.turns) for o in outcomes),
        seconds=_share(o.seconds for o in outcomes),
    )


def _own_calls(outcomes: Iterable[Outcome]) -> tuple[int, int]:
    """How many calls of the policy's own, not of a script, were well-formed, and how many were not."""
    good = bad = 0
    for outcome in outcomes:
        own = outcome.trajectory.turns[1 if outcome.forced else 0 :]
        ids = {call.id for turn in own for call in turn.calls}
        refused = {
            step.call.id
            for step in outcome.trajectory.observations
            if step.call and step.failure and step.failure.kind in ILL_FORMED_CALLS
        }
        good += len(ids - refused)
        # A malformed turn that tried to call is one call: how many it meant nobody can tell.
        bad += len(ids & refused) + sum(turn.problem is not None and "<tool_call>" in turn.text for turn in own)
    return good, bad


def _boxes(outcome: Outcome) -> list[bool]:
    """Does its box hold the evidence, for each zoom_crop of the policy's own? A failed call's does not."""
    if outcome.evidence is None:
        return []
    evidence = Box.of(outcome.evidence)
    scripted = outcome.trajectory.turns[:1] if outcome.forced else ()
    forced = {call.id for turn in scripted for call in turn.calls}
    return [
        _covers(step, evidence)
        for step in outcome.trajectory.observations
        if step.call is not None and step.call.name == "zoom_crop" and step.call.id not in forced
    ]


def _covers(step: Observation, evidence: Box) -> bool:
    # The evidence lies on the first image.
    return step.view is not None and step.view.source == 0 and step.view.box.contains(evidence)


def _tokens_ratio(outcomes: Sequence[Outcome]) -> float | None:
    full = sum(outcome.trajectory.usage.full_resolution_tokens for outcome in outcomes)
    return sum(outcome.trajectory.usage.visual_tokens for outcome in outcomes) / full if full else None


def _called(outcome: Outcome) -> bool:
    return any(turn.calls for turn in outcome.trajectory.turns)


def _share(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def _interval(values: Iterable[bool]) -> Interval | None:
    values = list(values)
    return wilson(sum(values), len(values))
