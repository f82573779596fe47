"""Is the answer right? Rewards of 1 or 0 (ANLS: in between) that need no judge.

No answer is a wrong one, but where the policy itself failed (an endpoint that is down) there is no verdict.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from decimal import Decimal

from agentic_vision.errors import ConfigError
from agentic_vision.matching import normalised

from .choices import choice
from .numbers_in import numbers
from .reward import Group, Part, Scoring


class Accuracy(Part):
    """The best score that an answer gets against any of the references. A subclass says how it compares."""

    name = "accuracy"

    @abstractmethod
    def compare(self, answer: str, reference: str, group: Group) -> float:
        """From 0 to 1."""

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        group = scoring.group
        scores: list[float | None] = []
        for trajectory in group.trajectories:
            if trajectory.answer is None:
                scores.append(None if trajectory.stop_reason.failed else 0.0)
            else:
                scores.append(max(self.compare(trajectory.answer, reference, group) for reference in group.references))
        return scores


class ExactMatch(Accuracy):
    """1 where answer and reference are the same but for case, blanks, outer punctuation and Unicode form."""

    def compare(self, answer: str, reference: str, group: Group) -> float:  # noqa: ARG002
        return float(normalised(answer) == normalised(reference))


class NumericMatch(Accuracy):
    """1 where the answer's one number is the reference's, within a share `tolerance` of it.

    0 means the same number; 0.05 is ChartQA's relaxed accuracy (Masry et al., Findings of ACL 2022). Units, currency
    and percent signs are ignored, magnitudes are not (`5k`, `3 million`); an answer with several numbers is wrong. A
    reference with no number or several (a date, a time) is compared as by `ExactMatch`.
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        """Raises `ConfigError` for a negative tolerance."""
        if not 0 <= tolerance < float("inf"):
            raise ConfigError(f"tolerance is {tolerance}: give a share of the reference, such as 0.05")
        self.tolerance = Decimal(str(tolerance))

    def compare(self, answer: str, reference: str, group: Group) -> float:  # noqa: ARG002
        wanted = numbers(reference)
        if len(wanted) != 1:
            return float(normalised(answer) == normalised(reference))
        said = numbers(answer)
        return float(len(said) == 1 and abs(said[0] - wanted[0]) <= self.tolerance * abs(wanted[0]))


class Anls(Accuracy):
    """Average normalised Levenshtein similarity (Biten et al., ICCV 2019): 1 - distance / longer length.

    0 unless that is above `threshold`.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        """Raises `ConfigError` for a threshold outside 0 to 1."""
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold is {threshold}: give a similarity from 0 to 1")
        self.threshold = threshold

    def compare(self, answer: str, reference: str, group: Group) -> float:  # noqa: ARG002
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


class MultipleChoice(Accuracy):
    """1 where the answer names the right letter: `B`, `(b)`, `B. a cat`, `The answer is B`.

    With `options` in the group's row (a list, A first), the option's own words are an answer too. An answer that names
    several letters is wrong. A reference that names no choice is a failure of the data, recorded as such.
    """

    def compare(self, answer: str, reference: str, group: Group) -> float:
        given = group.row.get("options")
        if isinstance(given, str):
            raise TypeError(f"options is the text {given!r}: give a list of texts")
        options = [] if given is None else [str(option) for option in given]
        wanted = choice(reference, options)
        if wanted is None:
            raise ValueError(f"the reference {reference!r} names no choice: give its letter, or `options` in the row")
        return float(choice(answer, options) == wanted)
