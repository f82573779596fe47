"""A judge's reply, read strictly: 1, 0, or no verdict. What does not clearly say one of the two says neither."""

from __future__ import annotations

import re

LONGEST = 200  # characters of a reply: the forms of a verdict are shorter
_MARKS = " \t*_`'\"#()[]{}"
_LABEL = re.compile(
    r"\W*(?:final\s+|the\s+)?(?:score|verdict|judge?ment|rating|grade|result|answer)\W*(?:\bis\b|[:=])", re.IGNORECASE
)
_ONE = re.compile(r"1(?:\.0)?(?:\s*(?:/|out\s+of)\s*1)?")
# Nothing is nothing on every scale, so that a scale may follow it.
_ZERO = re.compile(
    r"0(?:\.0)?(?![.,]?\d)(?:[\s./()\u2026-]|out|of|on|an?|the|scale|from|to|points?|0|[2-9]|10+)*+", re.IGNORECASE
)


def read_verdict(reply: str, *, about: str = "") -> bool | None:
    """True for 1, False for 0, None for anything else: both, neither, a number on another scale, a reply cut short.

    The reply is the digit, or a label and the digit (`Score: 1`), and nothing else: words around it may be those of the
    answer that is judged, of which the judge repeats what it likes. A reasoning model's `<think>` is skipped; one that
    never ends hides no verdict. Where `about`, the answer, ends a thought itself, nobody can tell whose end it is: then
    a reply with a thought is no verdict.

    >>> [read_verdict(reply) for reply in ("**1**", "Score: 0 out of 10", "I would say 1 or 0.", "Score: 10")]
    [True, False, None, None]
    """
    thought, ended, said = reply.rpartition("</think>")
    said = said.strip()
    if ended and ("</think>" in thought or "</think>" in about):
        return None
    if "<think>" in said or len(said) > LONGEST or len(said.splitlines()) > 1:
        return None
    label = _LABEL.match(said)
    value = (said[label.end() :] if label else said).strip(_MARKS).rstrip(".").rstrip(_MARKS)
    if _ONE.fullmatch(value):
        return True
    if value == "0" or (label and _ZERO.fullmatch(value)):
        return False
    return None
