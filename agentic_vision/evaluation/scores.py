"""What an evaluation measures: accuracy with its confidence interval, visual tokens, calls, boxes.

Every figure is computed from `Outcome`s alone: a `trajectories.jsonl` is enough to compute them again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from .outcomes import Outcome, Trouble
from .statistics import Interval, interval, mean, quantile, wilson


class SceneScores(BaseModel):
    """The figures of one scene's questions."""

    model_config = ConfigDict(frozen=True)

    n: int
    accuracy: float | None
    call_ratio: float | None


class StrategyScores(BaseModel):
    """The figures of one strategy; None where there is no question or call of that kind.

    `n` questions were asked; those in `trouble` (by its kind) have no score and count in no accuracy; `first_trouble`
    is what was said of the first of a kind. Intervals are at 95 %, Wilson's where scores are 1 or 0, else normal.
    `visual_tokens_ratio`: visual tokens spent, pruning considered, over those of full resolution, both summed over the
    questions. `call_ratio`: the share of questions with a call. `malformed`: the share of the policy's own calls
    (`calls`) that were not well-formed. `box_covers_evidence`: the share of its zoom_crop calls on fine questions whose
    box holds the whole evidence. `no_answer`: the share that ended without an answer. `turns` is a mean. `seconds` are
    of a question's wall time, among others in flight; replies from a cache have none. `cost`: US dollars of all, None
    where a price is not known. `scenes`: by the rows' scene.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    trouble: dict[Trouble, int]
    first_trouble: dict[Trouble, str]
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
    seconds_median: float | None
    seconds_p95: float | None
    cost: float | None
    scenes: dict[str, SceneScores]


def score(outcomes: Sequence[Outcome]) -> StrategyScores:
    """The figures of one strategy's outcomes."""
    asked = [outcome for outcome in outcomes if outcome.ran]
    coarse = [outcome for outcome in asked if outcome.kind == "coarse"]
    fine = [outcome for outcome in asked if outcome.kind == "fine"]
    scenes = sorted({outcome.scene for outcome in asked if outcome.scene is not None})
    well_formed, ill_formed = sum(o.well_formed for o in asked), sum(o.ill_formed for o in asked)
    covered = [covers for outcome in fine for covers in outcome.boxes]
    seconds = [outcome.seconds for outcome in asked if outcome.seconds is not None]
    costs = [outcome.cost for outcome in asked if outcome.cost is not None]
    return StrategyScores(
        n=len(outcomes),
        trouble=dict(Counter(o.trouble for o in outcomes if o.trouble)),
        first_trouble={o.trouble: o.detail for o in reversed(outcomes) if o.trouble and o.detail},
        accuracy=mean(_scores(asked)),
        accuracy_interval=interval(_scores(asked)),
        accuracy_coarse=mean(_scores(coarse)),
        accuracy_coarse_interval=interval(_scores(coarse)),
        accuracy_fine=mean(_scores(fine)),
        accuracy_fine_interval=interval(_scores(fine)),
        visual_tokens_ratio=tokens_ratio(asked),
        visual_tokens_ratio_coarse=tokens_ratio(coarse),
        visual_tokens_ratio_fine=tokens_ratio(fine),
        call_ratio=mean(_called(asked)),
        call_ratio_coarse=mean(_called(coarse)),
        call_ratio_fine=mean(_called(fine)),
        calls=well_formed + ill_formed,
        malformed=ill_formed / (well_formed + ill_formed) if well_formed + ill_formed else None,
        malformed_interval=wilson(ill_formed, well_formed + ill_formed),
        box_covers_evidence=mean(covered),
        box_covers_evidence_interval=interval(covered),
        no_answer=mean([outcome.answer is None for outcome in asked]),
        turns=mean([outcome.turns for outcome in asked]),
        seconds_median=quantile(seconds, 0.5),
        seconds_p95=quantile(seconds, 0.95),
        cost=math.fsum(costs) if costs and len(costs) == len(asked) else None,
        scenes={name: _scene([o for o in asked if o.scene == name]) for name in scenes},
    )


def _scene(outcomes: Sequence[Outcome]) -> SceneScores:
    return SceneScores(n=len(outcomes), accuracy=mean(_scores(outcomes)), call_ratio=mean(_called(outcomes)))


def _scores(outcomes: Iterable[Outcome]) -> list[float]:
    return [outcome.score for outcome in outcomes if outcome.score is not None]


def _called(outcomes: Iterable[Outcome]) -> list[bool]:
    return [outcome.called for outcome in outcomes]


def tokens_ratio(outcomes: Iterable[Outcome]) -> float | None:
    """Visual tokens spent over those of full resolution, both summed; None for none."""
    outcomes = list(outcomes)
    full = sum(outcome.full_resolution_tokens for outcome in outcomes)
    return sum(outcome.visual_tokens for outcome in outcomes) / full if full else None
