"""What did the trajectories of a group earn, and which of them count? The rows in which verl looks for its rewards."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..rewards.call_ratio import called
from ..rewards.format import well_formed
from ..rewards.reward import Group, Scores, Values
from ..run_folder import PREFIX
from .advantages import place
from .figures import figures
from .fork import with_entropy

Rows = dict[str, dict[str, Any]]
"""What is written of a trajectory, by verl's key of it."""


@dataclass(frozen=True)
class ScoredGroup:
    """A group with its scores; every sequence has one entry a trajectory.

    `keys`, `lengths` (tokens of the response) and `extra` are verl's. `side`: the totals of the side channel; None
    where there is no such channel. `decided`: the index of the token at which it decided whether to call, and
    `log_probs` that token's, in nats.
    """

    keys: Sequence[str]
    extra: Sequence[Mapping[str, Any]]
    lengths: Sequence[int]
    group: Group
    scores: Scores
    side: Values | None
    decided: Sequence[int]
    log_probs: Sequence[float]

    def training(self, *, entropy: float = 0.0, drop_alike: bool = False) -> Rows:
        """The rewards of those that count: that have a verdict, and another beside them that has one.

        `entropy`: the weight of the deciding token's surprise in the side channel; where all acted alike none decided,
        and it is not paid. `drop_alike`: none of a group counts whose totals, and whose side channel, are all alike.
        """
        totals: Sequence[float | None] = self.scores.totals
        side: Sequence[float | None] = self.side or [None] * len(self.keys)
        asked = (totals, side) if self.side else (totals,)
        counting = [n for n in range(len(self.keys)) if all(channel[n] is not None for channel in asked)]
        # verl takes the score of one that is alone in its group for its advantage.
        if len(counting) < 2 or (drop_alike and len({(totals[n], side[n]) for n in counting}) < 2):
            return {}
        trajectories = self.group.trajectories
        if len({called(trajectories[n]) for n in counting}) > 1:
            side = with_entropy(side, self.log_probs, list(map(well_formed, trajectories)), entropy)
        return {
            self.keys[n]: {"rm_scores": place(totals[n] or 0.0, side[n], self.lengths[n], self.decided[n])}
            for n in counting
        }

    def validation(self) -> Rows:
        """The total of each and what else is averaged of it; no verdict is no score."""
        rows: Rows = {}
        for n, key in enumerate(self.keys):
            total = self.scores.totals[n]
            facts = self._facts(n)
            if "reward" in facts:  # verl has a figure of that name, into which it puts what is in rm_scores
                facts["total"] = facts.pop("reward")
            rows[key] = {
                "rm_scores": place(math.nan if total is None else total, None, self.lengths[n]),
                "extra_fields": {**self.extra[n], "reward_extra_info": facts},
            }
        return rows

    def _facts(self, n: int) -> dict[str, float]:
        alone = Group([self.group.trajectories[n]], self.group.reference, self.group.row)
        parts = {name: (values[n],) for name, values in self.scores.parts.items()}
        found = figures([alone], [Scores((self.scores.totals[n],), parts)])
        return {name.removeprefix(PREFIX): value for name, value in found.items()}


def trainable(keys: Sequence[str], lengths: Sequence[int], counting: Collection[str]) -> list[str]:
    """Of a batch's `keys` those that count, as far as verl can train on them. `lengths`: of the sequences.

    verl 0.9.1 breaks on a batch whose rows are all of one length (its issue 7899): one of them then goes, and verl
    fills its place with a row of padding. It is one of the largest group, or all of it where one would be left alone.
    """
    kept = [key for key in keys if key in counting]
    known = dict(zip(keys, lengths, strict=True))
    if len(kept) > 1 and len({known[key] for key in kept}) == 1:
        groups: dict[str, list[str]] = {}
        for key in kept:
            groups.setdefault(group_of(key), []).append(key)
        largest = max(groups.values(), key=len)
        going = largest[-1:] if len(largest) > 2 else largest
        kept = [key for key in kept if key not in going]
    return kept


def group_of(key: str) -> str:
    """verl's id of the prompt of a trajectory, whose key is {prompt}_{session}_{index}."""
    return key.split("_")[0]
