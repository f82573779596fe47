"""What a matching rule is: an object that compares an answer with the references of a question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..errors import RowError


class Matcher(ABC):
    """Compares by rule. A subclass says how an answer compares with one reference."""

    name: str

    def compare(self, answer: str, references: Sequence[str], options: Sequence[str] = ()) -> float:
        """How right `answer` is, from 0 to 1: the best over the `references`. `options`: of a choice, A first.

        Raises `RowError` where the row is at fault: no references, or one that the rule cannot read.
        """
        if not references:
            raise RowError("the row has no reference answer: give it one, or leave it out")
        return max(self.one(answer, reference, options) for reference in references)

    @abstractmethod
    def one(self, answer: str, reference: str, options: Sequence[str]) -> float:
        """From 0 to 1."""
