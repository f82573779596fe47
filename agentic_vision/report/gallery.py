"""Which trajectories are worth a look? Some of every kind: of each strategy, right or wrong, called or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..evaluation.folder import trajectories
from ..evaluation.outcomes import Outcome
from ..evaluation.paired import pairs
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


def chosen(
    found: Evaluations | None, samples: Mapping[str, Sequence[Outcome]] | None = None, most: int = MOST
) -> tuple[list[Card], int]:
    """At most `most` cards of evaluations and of training runs, drawn in turn from every kind, and how many there are.

    The draw depends on the rows' names alone: the same questions are drawn of every strategy, as far as they go, and
    again when the page is made again.
    """
    cards: list[Card] = []
    for number, (name, by_row) in enumerate(found.outcomes.items() if found else (), 1):
        changes = _changes(by_row, (found and found.baseline(name)) or {})
        cards += [Card(number, name, outcome, changes.get(row)) for row, outcome in by_row.items()]
    evaluated = len(found.outcomes) if found else 0
    for number, (name, outcomes) in enumerate((samples or {}).items(), evaluated + 1):
        cards += [Card(number, name, outcome, None, outcome.trajectory) for outcome in outcomes]
    kinds: dict[tuple[str | None, ...], list[Card]] = {}
    for card in sorted(cards, key=_place):
        kinds.setdefault(card.kind, []).append(card)
    turns = [(turn, card) for cards in kinds.values() for turn, card in enumerate(cards)]
    drawn = [card for _, card in sorted(turns, key=lambda pair: (pair[0], _place(pair[1])))[:most]]
    return _with_steps(sorted(drawn, key=_place), found), len(cards)


def _place(card: Card) -> tuple[str, int]:
    return hashlib.sha256(card.outcome.row.encode("utf-8", "replace")).hexdigest(), card.number


def _changes(ours: Mapping[str, Outcome], baseline: Mapping[str, Outcome]) -> dict[str, str]:
    """Gain or harm, of the rows where there is either."""
    scores = {a.row: (a.score or 0, b.score or 0) for a, b in pairs(ours, baseline)}
    return {row: "gain" if score > other else "harm" for row, (score, other) in scores.items() if score != other}


def _with_steps(cards: Sequence[Card], found: Evaluations | None) -> list[Card]:
    """The cards with their trajectories, which those of training runs have already."""
    if found is None:
        return list(cards)
    wanted: dict[Path, set[tuple[str, str]]] = {}
    for card in cards:
        if card.trajectory is None:
            folder, strategy = found.origins[card.strategy]
            wanted.setdefault(folder, set()).add((card.outcome.row, strategy))
    steps = {folder: trajectories(folder, keys) for folder, keys in wanted.items()}  # every folder is read once

    def told(card: Card) -> Card:
        if card.trajectory is not None:
            return card
        folder, strategy = found.origins[card.strategy]
        return replace(card, trajectory=steps[folder].get((card.outcome.row, strategy)))

    return [told(card) for card in cards]
