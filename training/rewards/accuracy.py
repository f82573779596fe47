"""Is the answer right? Rewards of 1 or 0 (ANLS: in between) that need no judge. No answer is a wrong one."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from agentic_vision.errors import ConfigError
from agentic_vision.scores import normalised

from .reward import Part, Scoring


class _Accuracy(Part):
    """The best score that an answer gets against any of the references."""

    name = "accuracy"

    @abstractmethod
    def compare(self, answer: str, reference: str) -> float:
        """From 0 to 1."""

    async def judge(self, scoring: Scoring) -> Sequence[float]:
        group = scoring.group
        answers = [trajectory.answer for trajectory in group.trajectories]
        return [
            max(self.compare(answer, reference) for reference in group.references) if answer is not None else 0.0
            for answer in answers
        ]


class ExactMatch(_Accuracy):
    """1 where answer and reference are the same but for case, blanks, outer punctuation and Unicode form."""

    def compare(self, answer: str, reference: str) -> float:
        return float(normalised(answer) == normalised(reference))


_NUMBER = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:[, \u202f]\d{3})+|\d+)(?:\.\d+)?|[-+\u2212]?\.\d+")


def numbers(text: str) -> list[Decimal]:
    """The numbers in `text`, thousands' separators (comma, blank) and the sign understood.

    >>> numbers("$1,234.50 of -7")
    [Decimal('1234.50'), Decimal('-7')]
    """
    found = []
    for match in _NUMBER.findall(text):
        try:
            found.append(Decimal(re.sub(r"[, \u202f]", "", match).replace("\u2212", "-")))
        except InvalidOperation:  # pragma: no cover (the pattern admits only what Decimal reads)
            continue
    return found


class NumericMatch(_Accuracy):
    """1 where the answer's one number is the reference's, within a share `tolerance` of it.

    0 means the same number; 0.05 is ChartQA's relaxed accuracy (Masry et al., Findings of ACL 2022). Units and
    currency around the number are ignored; an answer with several numbers is wrong. A reference without a number is
    compared as by `ExactMatch`.
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        """Raises `ConfigError` for a negative tolerance."""
        if not 0 <= tolerance < float("inf"):
            raise ConfigError(f"tolerance is {tolerance}: give a share of the reference, such as 0.05")
        self.tolerance = Decimal(str(tolerance))

    def compare(self, answer: str, reference: str) -> float:
        wanted = numbers(reference)
        if len(wanted) != 1:
            return float(normalised(answer) == normalised(reference))
        said = numbers(answer)
        return float(len(said) == 1 and abs(said[0] - wanted[0]) <= self.tolerance * abs(wanted[0]))


class Anls(_Accuracy):
    """Average normalised Levenshtein similarity (Biten et al., ICCV 2019): 1 - distance / longer length.

    0 where that is below `threshold`.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        """Raises `ConfigError` for a threshold outside 0 to 1."""
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold is {threshold}: give a similarity from 0 to 1")
        self.threshold = threshold

    def compare(self, answer: str, reference: str) -> float:
        said, wanted = (" ".join(text.casefold().split()) for text in (answer, reference))
        longest = max(len(said), len(wanted))
        if longest == 0:
            return 1.0
        # The lengths alone can say that it is too far off: an endless answer is not measured.
        if 1 - abs(len(said) - len(wanted)) / longest < self.threshold:
            return 0.0
        similarity = 1 - levenshtein(said, wanted) / longest
        return similarity if similarity >= self.threshold else 0.0


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


_NAMED = re.compile(r"\b(?i:answer|option|choice)\b(?:\s+(?:is|would\s+be))?[^\w\n]*([A-Z])\b")
_ALONE = re.compile(r"\W*([A-Za-z])\W*")
_LABEL = re.compile(r"\W*([A-Za-z])[.):]\s")


class MultipleChoice(_Accuracy):
    """1 where the answer names the right letter: `B`, `(b)`, `B. a cat`, `The answer is B`.

    With `options` in the group's row (a list, A first), the option's own words are an answer too. An answer that names
    several letters is wrong.
    """

    async def judge(self, scoring: Scoring) -> Sequence[float]:
        options = [str(option) for option in scoring.group.row.get("options") or ()]
        wanted = {choice(reference, options) for reference in scoring.group.references} - {None}
        if not wanted:
            raise ValueError(
                f"the reference {scoring.group.references[0]!r} names no choice: give its letter, or its words with "
                "`options` in the row"
            )
        return [
            float(trajectory.answer is not None and choice(trajectory.answer, options) in wanted)
            for trajectory in scoring.group.trajectories
        ]

    def compare(self, answer: str, reference: str) -> float:
        letter = choice(reference, ())
        return float(letter is not None and choice(answer, ()) == letter)


def choice(text: str, options: Sequence[str]) -> str | None:
    """The letter that `text` names, or the one of the option that it spells out; None where it names none or several.

    >>> choice("The answer is (B).", ()), choice("a dog", ["a cat", "a dog"]), choice("A or B", ())
    ('B', 'B', None)
    """
    for number, option in enumerate(options):
        if normalised(text) == normalised(option):
            return chr(ord("A") + number)
    named = set(_NAMED.findall(text))
    if named:
        return named.pop() if len(named) == 1 else None
    letter = _ALONE.fullmatch(text) or _LABEL.match(text)
    return letter.group(1).upper() if letter else None
