"""Two ways of answering the same questions: what the one mends, what it breaks, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from .outcomes import Outcome
from .statistics import Interval, difference, sign_test


class Paired(BaseModel):
    """A strategy against a baseline, over the `n` questions that both have a score for.

    `gain` and `harm`: questions that it answers better, and worse. `mended` and `broken`: those among them in which it
    called a tool; against `glance`, what the calls were good for. `difference`: of the accuracies, with its 95 %
    interval (None for a single question); `p`: of McNemar's exact test, or the sign test where scores are not 1 or 0.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    difference: float
    interval: Interval | None
    p: float
    gain: int
    harm: int
    mended: int
    broken: int


def pairs(ours: Mapping[str, Outcome], others: Mapping[str, Outcome]) -> list[tuple[Outcome, Outcome]]:
    """The outcomes by row of the same questions, as far as both have a score; of `ours` first.

    Ids tell no questions apart: two data sets may both count their rows from 1.
    """
    found = [(outcome, others[row]) for row, outcome in ours.items() if row in others]
    return [
        (a, b)
        for a, b in found
        if (a.question, a.references) == (b.question, b.references) and a.score is not None and b.score is not None
    ]


def paired(ours: Mapping[str, Outcome], baseline: Mapping[str, Outcome]) -> Paired | None:
    """Outcomes by row, of a strategy and of its baseline; None where they share no question with scores."""
    changes = [(outcome, (outcome.score or 0) - (other.score or 0)) for outcome, other in pairs(ours, baseline)]
    if not changes:
        return None
    gain = [outcome for outcome, change in changes if change > 0]
    harm = [outcome for outcome, change in changes if change < 0]
    return Paired(
        n=len(changes),
        difference=sum(change for _, change in changes) / len(changes),
        interval=difference([change for _, change in changes]),
        p=sign_test(len(gain), len(harm)),
        gain=len(gain),
        harm=len(harm),
        mended=sum(outcome.called for outcome in gain),
        broken=sum(outcome.called for outcome in harm),
    )
