"""How alike are two answers, letter by letter? For text that was read off an image."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from .matcher import Matcher


class Anls(Matcher):
    """Average normalised Levenshtein similarity (Biten et al., ICCV 2019): 1 - distance / longer length.

    0 unless that is above `threshold`. Case and the number of blanks do not count.
    """

    name = "anls"

    def __init__(self, threshold: float = 0.5) -> None:
        """Raises `ConfigError` for a threshold outside 0 to 1."""
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold is {threshold}: give a similarity from 0 to 1")
        self.threshold = threshold

    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:  # noqa: ARG002
        said, wanted = (" ".join(text.casefold().split()) for text in (answer, reference))
        if said == wanted:
            return 1.0
        longest = max(len(said), len(wanted))
        # The lengths alone can say that it is too far off: an endless answer is not measured.
        if 1 - abs(len(said) - len(wanted)) / longest <= self.threshold:
            return 0.0
        similarity = 1 - levenshtein(said, wanted) / longest
        return similarity if similarity > self.threshold else 0.0


def levenshtein(a: str, b: str) -> int:
    """How many characters must be put in, left out or changed to make `b` of `a`.

    >>> levenshtein("kitten", "sitting")
    3
    """
    if len(a) < len(b):
        a, b = b, a
    before = list(range(len(b) + 1))
    for row, x in enumerate(a, 1):
        here = [row]
        for column, y in enumerate(b, 1):
            here.append(min(before[column] + 1, here[-1] + 1, before[column - 1] + (x != y)))
        before = here
    return before[-1]
