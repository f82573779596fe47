"""Is the answer the right number, and how far from it may it be?"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..errors import ConfigError
from .exact import normalised
from .matcher import Matcher
from .numbers_in import numbers

RELAXED = 0.05
"""The tolerance of ChartQA's relaxed accuracy (Masry et al., Findings of ACL 2022, section 5.1)."""


class Numeric(Matcher):
    """1 where the answer's one number is the reference's, within a share `tolerance` of it; 0 is the same number.

    Units, currency and percent signs are ignored, magnitudes are not (`5k`, `3 million`); an answer with several
    numbers is wrong. A reference with no number or several (a date, a time) is compared as by `Exact`.
    """

    name = "numeric"

    def __init__(self, tolerance: float = 0.0) -> None:
        """Raises `ConfigError` for a negative tolerance."""
        if not 0 <= tolerance < float("inf"):
            raise ConfigError(f"tolerance is {tolerance}: give a share of the reference, such as 0.05")
        self.tolerance = Decimal(str(tolerance))

    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:  # noqa: ARG002
        wanted = numbers(reference)
        if len(wanted) != 1:
            return float(normalised(answer) == normalised(reference))
        said = numbers(answer)
        return float(len(said) == 1 and abs(said[0] - wanted[0]) <= self.tolerance * abs(wanted[0]))


class Relaxed(Numeric):
    """ChartQA's relaxed accuracy: a number within 5 % of the reference's, and text as by `Exact`."""

    name = "relaxed"

    def __init__(self) -> None:
        super().__init__(RELAXED)
