"""Which of several choices an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import RowError
from .exact import normalised
from .matcher import Matcher

_MARKS = re.compile(r"[*_`$\\{}]|\bboxed\b|\btext\b")
# A small "a" or "i" before a word is that word, but for "option a".
_NAMED = re.compile(
    r"\b(?i:answer|option|choice)\b(?:\s+(?i:is|would\s+be))?[\s:=(\[]*(?![ai][ \t]+\w)([A-Za-z])\b(?!')"
    r"|\b(?i:option|choice)\s+([a-z])\b(?!')"
)
# Nor is the X of "X-ray" a letter that is named.
_CAPITAL = re.compile(r"(?<!\w-)\b([A-Z])\b(?!'|-\w)(\s+(?!or\b|and\b)[a-z])?")
_FIRST = re.compile(r"\s*[(\[]?([A-Za-z])(?:[)\].:,]|\s+[-\u2013]\s|\s*$)")


def choice(text: str, options: Sequence[str]) -> str | None:
    """The letter that `text` names, or that of the option which it spells out; None where it names none or several.

    >>> [choice(text, ["a cat", "a dog"]) for text in ("The answer is (b).", "A dog", "B. a dog", "A or B", "no idea")]
    ['B', 'B', 'B', None, None]

    What begins with an option's letter, as "B. vitamin C", is not taken to name another one beyond the `options`.
    """
    for number, option in enumerate(options):
        if normalised(text) == normalised(option):
            return chr(ord("A") + number)
    plain = _MARKS.sub("", text).strip()
    # A capital on its own is a letter that is named; "A" before a word is the article as often as not.
    capitals = {letter for letter, word in _CAPITAL.findall(plain) if letter not in "AI" or not word}
    first = _FIRST.match(plain)
    named = {(letter or after).upper() for letter, after in _NAMED.findall(plain)}
    letters = capitals | named | ({first[1].upper()} if first else set())
    there = {letter for letter in letters if not options or ord(letter) - ord("A") < len(options)}
    return there.pop() if len(there) == 1 and (there == letters or (first and first[1].upper() in there)) else None


class Choice(Matcher):
    """1 where the answer names the right letter: `B`, `(b)`, `B. a cat`, `The answer is B`.

    With `options` (A first) the option's own words are an answer too. An answer that names several letters is wrong.
    """

    name = "choice"

    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:
        """Raises `RowError` for a reference that names no choice."""
        wanted = choice(reference, options)
        if wanted is None:
            raise RowError(f"the reference {reference!r} names no choice: give its letter, or `options` in the row")
        return float(choice(answer, options) == wanted)
