"""Is the answer right? By a rule, or by a judge, which may come to no verdict."""

from __future__ import annotations

from typing import Protocol

from ..judge import Judge
from ..matching import matcher
from ..rows import Row


class Scorer(Protocol):
    """Scores answers. `name` goes into the settings of an evaluation."""

    @property
    def name(self) -> str: ...

    def check(self, row: Row) -> None:
        """Raises `ConfigError` where no answer to it can be scored, before it is asked."""
        ...

    async def score(self, row: Row, answer: str) -> tuple[float | None, str | None]:
        """From 0 to 1; or None, and why there is no score. Raises `ConfigError` where no answer can be scored."""
        ...


class ByRule:
    """Scores by a matcher of `agentic_vision.matching`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._matcher = matcher(name)

    def check(self, row: Row) -> None:
        self._matcher.compare(row.references[0], row.references, row.options)

    async def score(self, row: Row, answer: str) -> tuple[float | None, str | None]:
        return self._matcher.compare(answer, row.references, row.options), None


class ByJudge:
    """Scores by an LLM, 1 or 0."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def name(self) -> str:
        return f"judge {self._judge.model}"

    def check(self, row: Row) -> None:
        pass

    async def score(self, row: Row, answer: str) -> tuple[float | None, str | None]:
        verdict = await self._judge.verdict(row.prompt, row.references, answer)
        return (None, verdict.reason) if verdict.correct is None else (float(verdict.correct), None)


def scorer(scoring: str | Judge) -> Scorer:
    """By the rule of this name, or by this judge. Raises `ConfigError` for a name that is none."""
    return ByJudge(scoring) if isinstance(scoring, Judge) else ByRule(scoring)
