"""Which trajectories are worth a look? Some of every kind: of each strategy, right or wrong, called or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..evaluation.folder import trajectories
from ..evaluation.outcomes import Outcome
from ..messages import Trajectory
from .evaluations import Evaluations

MOST = 120  # cards on a page


@dataclass(frozen=True)
class Card:
    """An outcome to look at.

    `strategy`: its name on the page, and `number`, from 1, its place there. `change`: gain or harm against `full`.
    """

    number: int
    strategy: str
    outcome: Outcome
    change: str | None
    trajectory: Trajectory | None = None

    @property
    def result(self) -> str | None:
        """Right or wrong; None where it has no score."""
        return None if self.outcome.correct is None else "right" if self.outcome.correct else "wrong"

    @property
    def called(self) -> str:
        """Whether there was a call."""
        return "called" if self.outcome.called else "direct"

    @property
    def kind(self) -> tuple[str | None, ...]:
        """What it has in common with others: cards are drawn evenly over these."""
        return self.strategy, self.result, self.called, self.outcome.kind, self.change


def chosen(found: Evaluations, most: int = MOST) -> tuple[list[Card], int]:
    """At most `most` cards, drawn in turn from every kind, and how many there would be.

    The draw depends on the rows' names alone: the same questions are drawn of every strategy, as far as they go, and
    again when the page is made again.
    """
    cards = [
        Card(number, name, outcome, _change(outcome, found.baseline(name)))
        for number, (name, by_row) in enumerate(found.outcomes.items(), 1)
        for outcome in by_row.values()
    ]
    kinds: dict[tuple[str | None, ...], list[Card]] = {}
    for card in sorted(cards, key=_place):
        kinds.setdefault(card.kind, []).append(card)
    turns = [(turn, card) for cards in kinds.values() for turn, card in enumerate(cards)]
    drawn = [card for _, card in sorted(turns, key=lambda pair: (pair[0], _place(pair[1])))[:most]]
    return _with_steps(sorted(drawn, key=_place), found), len(cards)


def _place(card: Card) -> tuple[str, int]:
    return hashlib.sha256(card.outcome.row.encode("utf-8", "replace")).hexdigest(), card.number


def _change(outcome: Outcome, baseline: Mapping[str, Outcome] | None) -> str | None:
    other = baseline.get(outcome.row) if baseline else None
    if other is None or outcome.score is None or other.score is None or outcome.score == other.score:
        return None
    return "gain" if outcome.score > other.score else "harm"


def _with_steps(cards: Sequence[Card], found: Evaluations) -> list[Card]:
    places = [found.origins[card.strategy] for card in cards]
    wanted = [(card.outcome.row, strategy) for card, (_, strategy) in zip(cards, places, strict=True)]
    steps = {  # every folder is read once
        folder: trajectories(folder, {key for key, place in zip(wanted, places, strict=True) if place[0] == folder})
        for folder in {folder for folder, _ in places}
    }
    return [
        replace(card, trajectory=steps[folder].get(key))
        for card, key, (folder, _) in zip(cards, wanted, places, strict=True)
    ]
