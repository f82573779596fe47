"""Are two answers the same, but for how they are written?"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from .matcher import Matcher

_OUTER = " .,;:!?`"


def normalised(answer: str | None) -> str:
    """What exact match compares: NFKC, case folded, blanks made one, outer quotes and punctuation dropped.

    >>> normalised("  The 'RED'   card. "), normalised('"Red."'), normalised(".5"), normalised("5'")
    ("the 'red' card", 'red', '.5', "5'")
    """
    text = " ".join(unicodedata.normalize("NFKC", answer or "").casefold().split())
    bare = text.strip(_OUTER)
    while len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        text, bare = bare[1:-1], bare[1:-1].strip(_OUTER)
    # The point of ".5" is no punctuation.
    return f".{bare}" if bare[:1].isdigit() and text.partition(bare)[0].endswith(".") else bare


class Exact(Matcher):
    """1 where answer and reference are the same but for case, blanks, outer punctuation and Unicode form."""

    name = "exact"

    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:  # noqa: ARG002
        return float(normalised(answer) == normalised(reference))
