"""What an evaluation has found: the figures of every strategy, and of every strategy against `full` and `glance`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from ..rows import Fault
from .outcomes import Outcome
from .paired import Paired, paired
from .scores import StrategyScores, score

BASELINES = ("full", "glance")


class Summary(BaseModel):
    """What `summary.json` holds: the figures of every strategy over the same `n` questions.

    `against`: by baseline, then by strategy. `faults`: rows of the data that could not be asked, and why.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    strategies: dict[str, StrategyScores]
    against: dict[str, dict[str, Paired]] = {}
    faults: tuple[Fault, ...] = ()

    @property
    def in_trouble(self) -> int:
        """Outcomes without a score, under any strategy: the next run tries them again."""
        return sum(sum(scores.trouble.values()) for scores in self.strategies.values())


def summarised(outcomes: Mapping[str, Sequence[Outcome]], faults: Iterable[Fault] = ()) -> Summary:
    """The summary of the outcomes of every strategy, over the same rows in the same order."""
    by_row = {name: {outcome.row: outcome for outcome in found} for name, found in outcomes.items()}
    against = {
        baseline: {
            name: compared
            for name, found in by_row.items()
            if name != baseline and (compared := paired(found, by_row[baseline])) is not None
        }
        for baseline in BASELINES
        if baseline in by_row
    }
    return Summary(
        n=max(map(len, outcomes.values()), default=0),
        strategies={name: score(found) for name, found in outcomes.items()},
        against={baseline: found for baseline, found in against.items() if found},
        faults=tuple(faults),
    )
