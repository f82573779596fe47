"""Where did a trajectory decide? At the token where it parts from those of its group that acted otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence


def forks(responses: Sequence[Sequence[int]], called: Sequence[bool]) -> list[int]:
    """For each of a group's responses (token ids) the index of the token at which it decided whether to call.

    That is the first token after what it shares with any response that acted otherwise; 0 where all acted alike.
    """
    ways = {way: [ids for ids, own in zip(responses, called, strict=True) if own == way] for way in (True, False)}
    return [
        min(max((_shared(ids, other) for other in ways[not way]), default=0), len(ids) - 1)
        for ids, way in zip(responses, called, strict=True)
    ]


def with_entropy(
    side: Sequence[float | None], log_probs: Sequence[float], well_formed: Sequence[bool], weight: float
) -> list[float | None]:
    """The side channel of each trajectory, and `weight` times the surprise (nats) of the token that decided.

    Maximum-entropy RL (arXiv 1801.01290) of the decision alone: where acting one way is worth d more than the other,
    the odds settle at exp(d / weight), so that neither way dies out while a policy cannot tell questions apart yet.
    What is malformed is always surprising, and never paid for it.
    """
    return [
        value - weight * log_prob if value is not None and well else value
        for value, log_prob, well in zip(side, log_probs, well_formed, strict=True)
    ]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return len(os.path.commonprefix([list(a), list(b)]))  # noqa: RUF071 (of tokens, not of paths)
