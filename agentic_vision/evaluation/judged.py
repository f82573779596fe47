"""Can a scorer be trusted? A judge, or a rule, against pairs of answers whose verdict people agree on.

`hard_pairs.jsonl` holds hand-written ones by what makes them hard: units, separators, number words, synonyms, extra
words, hedges, refusals, negation, and predictions that tell the judge what to say. The answers of an evaluation that
was scored by exact match are easy ones, of which there are many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from .. import sync
from ..errors import ConfigError
from ..rows import Row
from .folder import by_strategy
from .scoring import Scorer
from .statistics import Interval, wilson

AT_ONCE = 16
RULES = ("exact", "numeric", "relaxed", "anls")
"""Of `agentic_vision.matching`, those that need neither options nor the answers of several people."""


class Pair(BaseModel):
    """A prediction, and whether it is `right`: says the same as any of the references. `kind`: what makes it hard."""

    model_config = ConfigDict(frozen=True)

    kind: str
    question: str
    references: tuple[str, ...]
    prediction: str
    right: bool


class Agreement(BaseModel):
    """How often a scorer agrees, of the `n` pairs of a kind; the interval is Wilson's at 95 %.

    `too_kind`: wrong predictions that it lets pass; `too_strict`: right ones that it does not; `no_verdict`: neither.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    agreed: int
    interval: Interval | None
    too_kind: int
    too_strict: int
    no_verdict: int


class Judged(BaseModel):
    """The agreement by kind and over `all`, and the pairs on which the scorer says otherwise, with what it says."""

    model_config = ConfigDict(frozen=True)

    scorer: str
    all: Agreement
    kinds: dict[str, Agreement]
    disagreements: tuple[tuple[Pair, bool | None], ...]


def hard_pairs() -> list[Pair]:
    """The hand-written pairs."""
    lines = files("agentic_vision.evaluation").joinpath("hard_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [Pair.model_validate_json(line) for line in lines]


def answered_pairs(folder: str | os.PathLike[str]) -> list[Pair]:
    """The answers of an evaluation, as what its own scoring says of them: for one that compared exactly.

    Raises `ConfigError` where the folder holds no evaluation, or none of its answers has a score of 1 or 0.
    """
    pairs = {
        (outcome.question, outcome.references, outcome.answer): outcome.score == 1
        for by_row in by_strategy(folder).values()
        for outcome in by_row.values()
        if outcome.answer is not None and outcome.score in (0, 1)
    }
    if not pairs:
        raise ConfigError(f"{folder} holds no answers that are right or wrong: give an evaluation by exact match")
    return [
        Pair(kind="answered", question=question, references=references, prediction=prediction, right=right)
        for (question, references, prediction), right in pairs.items()
    ]


def judged(scorer: Scorer, pairs: Sequence[Pair], progress: Callable[[int, int], None] | None = None) -> Judged:
    """What `scorer` says of every pair. Raises `ConfigError` where it can say nothing at all (a wrong key)."""
    said = sync.run(_said(scorer, pairs, progress))
    kinds = list(dict.fromkeys(pair.kind for pair in pairs))
    return Judged(
        scorer=scorer.name,
        all=_agreement(said),
        kinds={kind: _agreement([(pair, says) for pair, says in said if pair.kind == kind]) for kind in kinds},
        disagreements=tuple((pair, says) for pair, says in said if says is not pair.right),
    )


async def _said(
    scorer: Scorer, pairs: Sequence[Pair], progress: Callable[[int, int], None] | None
) -> list[tuple[Pair, bool | None]]:
    room, done = asyncio.Semaphore(AT_ONCE), 0

    async def says(pair: Pair) -> tuple[Pair, bool | None]:
        nonlocal done
        one = max(pair.references, key=len)  # that is shown; of several, one may be empty
        row = Row(id="pair", images=("none",), question=pair.question, answer=one, answers=pair.references)
        async with room:
            score, _ = await scorer.score(row, pair.prediction)
        done += 1
        if progress:
            progress(done, len(pairs))
        return pair, None if score is None else score > 0.5

    return list(await asyncio.gather(*map(says, pairs)))


def _agreement(said: Iterable[tuple[Pair, bool | None]]) -> Agreement:
    said = list(said)
    agreed = sum(says is pair.right for pair, says in said)
    return Agreement(
        n=len(said),
        agreed=agreed,
        interval=wilson(agreed, len(said)),
        too_kind=sum(says is True and not pair.right for pair, says in said),
        too_strict=sum(says is False and pair.right for pair, says in said),
        no_verdict=sum(says is None for _, says in said),
    )
