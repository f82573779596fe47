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
    interval; `p`: of McNemar's exact test, or the sign test where scores are not 1 or 0.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    difference: float
    interval: Interval
    p: float
    gain: int
    harm: int
    mended: int
    broken: int


def paired(ours: Mapping[str, Outcome], baseline: Mapping[str, Outcome]) -> Paired | None:
    """Outcomes by row, of a strategy and of its baseline; None where they share no row with scores."""
    changes = {
        row: outcome.score - other.score
        for row, outcome in ours.items()
        if outcome.score is not None and (other := baseline.get(row)) is not None and other.score is not None
    }
    if not changes:
        return None
    gain = [row for row, change in changes.items() if change > 0]
    harm = [row for row, change in changes.items() if change < 0]
    return Paired(
        n=len(changes),
        difference=sum(changes.values()) / len(changes),
        interval=difference(list(changes.values())),
        p=sign_test(len(gain), len(harm)),
        gain=len(gain),
        harm=len(harm),
        mended=sum(ours[row].called for row in gain),
        broken=sum(ours[row].called for row in harm),
    )
