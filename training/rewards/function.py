"""A function of one's own as a reward."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
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
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.Signature()
        first = next(iter(signature.parameters), None)
        self._whole = first == "group" or not _takes(signature, 2)
        if self._whole and not _takes(signature, 1):
            raise ConfigError(
                f"{self.name} cannot be a reward: write f(trajectory, reference) -> float or f(group) -> floats"
            )

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        group = scoring.group
        if self._whole:
            scores = await self._call(group)
            if not isinstance(scores, Iterable):
                raise TypeError(
                    f"a function of one argument gets the group, and gave {scores!r}: give one value a trajectory, or "
                    "write f(trajectory, reference)"
                )
            return list(scores)
        return await scoring.each(self, (self._call(t, group.references[0]) for t in group.trajectories))

    async def _call(self, *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*arguments)
        given, error = await asyncio.to_thread(self._caught, *arguments)
        if error is not None:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        return await given if inspect.isawaitable(given) else given

    def _caught(self, *arguments: Any) -> tuple[Any, Exception | None]:
        try:
            return self.function(*arguments), None
        except StopIteration as error:  # no future can hold it: asyncio would wait for ever
            return None, error


def _takes(signature: inspect.Signature, n: int) -> bool:
    try:
        signature.bind(*range(n))
    except TypeError:
        return False
    return True
