"""How many of the people who were asked gave this answer? The accuracy of VQAv2, TextVQA and VizWiz."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import RowError
from .matcher import Matcher

ENOUGH = 3
"""So many people saying the same make an answer right."""

_DIGITS = {
    word: str(value)
    for value, words in enumerate(
        ("none zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
    for word in words.split()
}
_ARTICLES = {"a", "an", "the"}
# Without those that are words of their own when the apostrophe is missing (its, were, well, shell, ill).
_CONTRACTIONS = """
ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't shouldn't wasn't
weren't won't wouldn't could've might've must've should've would've i'm i've you'd you'll you're you've he's they'd
they'll they're they've we've it'd it'll that's there's what's when's where's who's who've why's how's o'clock y'all
ma'am
"""
_CONTRACTED = {word.replace("'", ""): word for word in _CONTRACTIONS.split()}
_POINT = re.compile(r"\.(?!\d)")
_BETWEEN_DIGITS = re.compile(r"(?<=\d),(?=\d)")
_PUNCTUATION = re.compile(r"[^\w\s':.]|_")


class Vqa(Matcher):
    """Right as far as people agree with it: min(people who said so / 3, 1) (Antol et al., ICCV 2015, section 3).

    As the benchmarks do it, this is the mean over the sets that leave one person out, so that an answer which 3 of 10
    people gave gets 0.9, and 4 make it 1. `references` are the answers of all the people, equal ones repeated.
    """

    name = "vqa"

    def compare(self, answer: str, references: Sequence[str], options: Sequence[str] = ()) -> float:
        """Raises `RowError` for too few references for any answer to be right."""
        people = len(references)
        if people <= ENOUGH:
            raise RowError(
                f"the row has {people} reference answers, of which `vqa` needs one a person, {ENOUGH + 1} or more (10 "
                "as a rule): compare it by another rule"
            )
        agreeing = sum(self.one(answer, reference, options) for reference in references)
        without_one, without_another = (min(1.0, n / ENOUGH) for n in (agreeing - 1, agreeing))
        return (agreeing * without_one + (people - agreeing) * without_another) / people

    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:  # noqa: ARG002
        return float(as_said(answer) == as_said(reference))


def as_said(answer: str) -> str:
    """What is compared, as the evaluation page of visualqa.org has it.

    Small letters; no points but in decimals, no commas between digits; digits for the number words up to ten (and 0
    for none); no articles; the apostrophes of contractions put in; a blank for other punctuation but `'` and `:`.

    >>> as_said("The two dogs, dont 1,000.5 at 2:50."), as_said("Girl's red-hat!")
    ("2 dogs don't 1000.5 at 2:50", "girl's red hat")
    """
    text = _BETWEEN_DIGITS.sub("", _POINT.sub("", answer.lower()))
    words = [_DIGITS.get(word, word) for word in _PUNCTUATION.sub(" ", text).split()]
    return " ".join(_CONTRACTED.get(word, word) for word in words if word not in _ARTICLES)
