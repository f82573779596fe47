"""The numbers that a text names, as people and models write them."""

from __future__ import annotations

import re
from decimal import Decimal

_MINUS = "-\u2212\u2013"
_NUMBER = re.compile(
    rf"""
    (?:(?<!\w)(?P<minus>[{_MINUS}])\s?)?[$\u20ac\u00a3\u00a5]?
    (?P<whole>\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?!\d) | \d{{1,3}}(?:[\u00a0\u2009\u202f]\d{{3}})+(?!\d) | \d+ | (?=\.\d))
    (?P<decimals>\.\d+)?
    (?:[eE](?P<power>[-+]?\d{{1,3}})(?!\w))?
    (?:\s*/\s*(?P<divisor>\d+)(?![\d./]))?
    (?:\s?(?P<magnitude>thousand|million|billion|bn|k|K|M)\b)?
    """,
    re.VERBOSE,
)
_MAGNITUDES = {"k": 3, "K": 3, "thousand": 3, "M": 6, "million": 6, "bn": 9, "billion": 9}


def numbers(text: str) -> list[Decimal]:
    """The numbers in `text`: signs, thousands' separators, fractions, powers and magnitudes understood.

    >>> numbers("$1,234.50 of -7"), numbers("3/4"), numbers("1.5e3"), numbers("$5k")
    ([Decimal('1234.50'), Decimal('-7')], [Decimal('0.75')], [Decimal('1.5E+3')], [Decimal('5E+3')])

    A text with characters that are numbers of their own (one half, raised digits) has none that we read.
    """
    if any(character.isnumeric() and not character.isdecimal() for character in text):
        return []
    found = []
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"\D", "", match["whole"]) or "0"
        value = Decimal(digits + (match["decimals"] or "")).scaleb(int(match["power"] or 0))
        if match["divisor"]:
            divisor = Decimal(match["divisor"])  # not an int: Python refuses to read one of thousands of digits
            if divisor == 0:
                return []
            value /= divisor
        value = value.scaleb(_MAGNITUDES.get(match["magnitude"] or "", 0))
        found.append(-value if match["minus"] else value)
    return found
