"""Two evaluations of the same questions side by side, and which of their differences are more than noise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from ..errors import ConfigError
from .folder import by_strategy
from .outcomes import Outcome
from .paired import Paired, paired, pairs
from .scores import tokens_ratio
from .statistics import Interval, difference, holm, mean

NOISE = 0.05  # differences less probable than this, all of them taken together, are more than noise


class Change(BaseModel):
    """A share in both, over the same questions, and the 95 % interval of the difference; None for a single one."""

    model_config = ConfigDict(frozen=True)

    before: float
    after: float
    interval: Interval | None

    @property
    def clear(self) -> bool:
        """Whether there is a difference, as far as the interval tells."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


class Compared(BaseModel):
    """One strategy in both evaluations, over the questions that both have scored.

    `accuracy`: the second against the first; `adjusted`: its p, Holm's for all strategies compared. `more_than_noise`:
    whether that is below `NOISE`. `visual_tokens` (over full resolution, both summed; the interval is that of the
    questions' own differences) and `calls`: shares.
    """

    model_config = ConfigDict(frozen=True)

    before: float
    after: float
    accuracy: Paired
    adjusted: float
    more_than_noise: bool
    visual_tokens: Change
    calls: Change


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> dict[str, Compared]:
    """The strategies that both folders have, by name.

    Raises `ConfigError` where a folder holds no evaluation, or they share no strategy with questions in common.
    """
    found = compared(by_strategy(first), by_strategy(second))
    if not found:
        raise ConfigError(f"{first} and {second} have no strategy with questions in common: evaluate the same data")
    return found


def compared(
    ours: Mapping[str, Mapping[str, Outcome]], theirs: Mapping[str, Mapping[str, Outcome]]
) -> dict[str, Compared]:
    """Of outcomes by strategy and row: the strategies that have questions in common."""
    found: dict[str, tuple[Paired, list[tuple[Outcome, Outcome]]]] = {}
    for name in ours:
        both = paired(theirs.get(name, {}), ours[name])
        if both is not None:
            found[name] = both, pairs(ours[name], theirs[name])
    adjusted = holm([both.p for both, _ in found.values()])
    return {
        name: Compared(
            before=mean([a.score for a, _ in scored if a.score is not None]) or 0.0,
            after=mean([b.score for _, b in scored if b.score is not None]) or 0.0,
            accuracy=both,
            adjusted=p,
            more_than_noise=p < NOISE,
            visual_tokens=_change((_ratio(a), _ratio(b)) for a, b in scored).model_copy(
                update={
                    "before": tokens_ratio(a for a, _ in scored) or 0.0,
                    "after": tokens_ratio(b for _, b in scored) or 0.0,
                }
            ),
            calls=_change((float(a.called), float(b.called)) for a, b in scored),
        )
        for (name, (both, scored)), p in zip(found.items(), adjusted, strict=True)
    }


def _ratio(outcome: Outcome) -> float:
    return outcome.visual_tokens / outcome.full_resolution_tokens if outcome.full_resolution_tokens else 0.0


def _change(pairs: Iterable[tuple[float, float]]) -> Change:
    before, after = zip(*pairs, strict=True)
    return Change(
        before=mean(before) or 0.0,
        after=mean(after) or 0.0,
        interval=difference([b - a for a, b in zip(before, after, strict=True)]),
    )
