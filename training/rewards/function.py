"""A function of one's own as a reward."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from agentic_vision.errors import ConfigError

from .reward import Part, Scoring


class FunctionReward(Part):
    """A plain or async function as a reward, named after it.

    `f(trajectory, reference) -> float | None` scores one trajectory (`reference` is the first of the references);
    `f(group) -> one such value a trajectory` scores them side by side. None means that there is no verdict. Plain
    functions run in a thread, so that a slow one does not hold up the others.

    Raises `ConfigError` for a function of another form.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        try:
            needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        except (TypeError, ValueError):
            needed = []
        positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in needed)
        if not 1 <= len(needed) <= 2 or not positional:
            raise ConfigError(
                f"{self.name} cannot be a reward: write f(trajectory, reference) -> float or f(group) -> floats"
            )
        self._whole = len(needed) == 1

    async def judge(self, scoring: Scoring) -> Sequence[float | None]:
        group = scoring.group
        if self._whole:
            scores: Sequence[float | None] = await self._call(group)
            return scores
        return await asyncio.gather(*(self._call(t, group.references[0]) for t in group.trajectories))

    async def _call(self, *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*arguments)
        given = await asyncio.to_thread(self.function, *arguments)
        return await given if inspect.isawaitable(given) else given
