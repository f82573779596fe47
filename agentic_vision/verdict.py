"""A judge's reply, read strictly: 1, 0, or no verdict. What does not clearly say one of the two says neither."""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_MARKS = " \t\r\n*_`'\"#().[]{}\\"
_NUMBER = r"(?P<number>[-+]?\d+(?:[.,]\d+)*%?)"
_LABELLED = re.compile(
    rf"\b(?:score|verdict|judge?ment|rating|grade|result)\b[\s*_`\"']*(?:is|[:=])[\s*_`\"'(\[{{]*{_NUMBER}"
    r"(?P<scale>\s*(?:/|out\s+of)\s*\d+)?",
    re.IGNORECASE,
)


def read_verdict(reply: str) -> bool | None:
    """True for 1, False for 0, None where the reply names neither, both, or a number on another scale.

    Either the whole reply is the digit, or it stands behind a label (`Score: 1`). A reasoning model's `<think>` is
    skipped.

    >>> [read_verdict(reply) for reply in ("**1**", "Score: 0 out of 10", "I would say 1 or 0.", "10")]
    [True, False, None, None]
    """
    said = _THOUGHT.sub("", reply)
    bare = said.strip(_MARKS)
    if bare in ("0", "1"):
        return bare == "1"
    verdicts = {_value(match) for match in _LABELLED.finditer(said)}
    return verdicts.pop() if len(verdicts) == 1 else None


def _value(match: re.Match[str]) -> bool | None:
    number, scale = match["number"], match["scale"]
    if number.strip("+-0.,%") == "" and "0" in number:
        return False  # nothing is nothing on every scale
    if number in ("1", "1.0") and (scale is None or re.fullmatch(r"\D*1", scale)):
        return True
    return None
