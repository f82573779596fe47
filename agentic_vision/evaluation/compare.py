"""Two evaluations of the same questions side by side, and which of their differences are more than noise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from ..errors import ConfigError
from .folder import by_strategy
from .outcomes import Outcome
from .paired import Paired, paired
from .statistics import Interval, difference, holm, mean

NOISE = 0.05  # differences less probable than this, all of them taken together, are more than noise


class Change(BaseModel):
    """A share in both, over the same questions, and the 95 % interval of the difference."""

    model_config = ConfigDict(frozen=True)

    before: float
    after: float
    interval: Interval


class Compared(BaseModel):
    """One strategy in both evaluations, over the questions that both have scored.

    `accuracy`: the second against the first; `adjusted`: its p, Holm's for all strategies compared. `more_than_noise`:
    whether that is below `NOISE`. `visual_tokens` (over full resolution, a question) and `calls`: shares.
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
    ours, theirs = by_strategy(first), by_strategy(second)
    found: dict[str, tuple[Paired, list[tuple[Outcome, Outcome]]]] = {}
    for name in ours:
        both = paired(theirs.get(name, {}), ours[name])
        if both is not None:
            found[name] = both, _scored(ours[name], theirs[name])
    if not found:
        raise ConfigError(f"{first} and {second} have no strategy with questions in common: evaluate the same data")
    adjusted = holm([both.p for both, _ in found.values()])
    return {
        name: Compared(
            before=mean([a.score for a, _ in pairs if a.score is not None]) or 0.0,
            after=mean([b.score for _, b in pairs if b.score is not None]) or 0.0,
            accuracy=both,
            adjusted=p,
            more_than_noise=p < NOISE,
            visual_tokens=_change((_ratio(a), _ratio(b)) for a, b in pairs),
            calls=_change((float(a.called), float(b.called)) for a, b in pairs),
        )
        for (name, (both, pairs)), p in zip(found.items(), adjusted, strict=True)
    }


def _scored(first: Mapping[str, Outcome], second: Mapping[str, Outcome]) -> list[tuple[Outcome, Outcome]]:
    pairs = [(outcome, second[row]) for row, outcome in first.items() if row in second]
    return [(a, b) for a, b in pairs if a.score is not None and b.score is not None]


def _ratio(outcome: Outcome) -> float:
    return outcome.visual_tokens / outcome.full_resolution_tokens if outcome.full_resolution_tokens else 0.0


def _change(pairs: Iterable[tuple[float, float]]) -> Change:
    before, after = zip(*pairs, strict=True)
    return Change(
        before=mean(before) or 0.0,
        after=mean(after) or 0.0,
        interval=difference([b - a for a, b in zip(before, after, strict=True)]),
    )
