"""What a reward is: an object that scores a group, and the algebra that makes one reward of several.

    accuracy = JudgeReward(judge)
    reward = accuracy + 0.5 * FormatReward() - CallRatioPenalty(correct=accuracy)
    scores = await reward.score(group)

A reward that stands in several places (`accuracy` above) is asked once a group. What it could not judge is None and
not valid: such a trajectory leaves the baseline and gets no advantage; it is never a zero.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.messages import Trajectory

Values = tuple[float | None, ...]
"""One score a trajectory; None where there is no verdict."""


@dataclass(frozen=True)
class Group:
    """The trajectories of one prompt (GRPO's group), and what the data say of it.

    `references`: the answers that are right, one or several. `row`: the rest of the data set's row, for rewards of
    one's own.
    """

    trajectories: tuple[Trajectory, ...]
    references: tuple[str, ...]
    row: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        reference: str | Sequence[str],
        row: Mapping[str, Any] | None = None,
    ) -> None:
        references = (reference,) if isinstance(reference, str) else tuple(reference)
        if not references:
            raise ConfigError("a group needs a reference answer, or several: none was given")
        object.__setattr__(self, "trajectories", tuple(trajectories))
        object.__setattr__(self, "references", references)
        object.__setattr__(self, "row", MappingProxyType(dict(row or {})))

    def __len__(self) -> int:
        return len(self.trajectories)

    @property
    def question(self) -> str:
        """The question; empty for a group of none."""
        return self.trajectories[0].question if self.trajectories else ""


@dataclass(frozen=True)
class Scores:
    """A group's scores. Every tuple has one entry a trajectory, in the group's order.

    `totals` is None where `valid` is False: some part of it has no verdict. `parts` are as each reward gave them,
    before weights and signs. `failures` says, by the part's name, what a reward raised: its part is None throughout.
    """

    totals: Values
    parts: Mapping[str, Values]
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> tuple[bool, ...]:
        """Whether each trajectory has a total."""
        return tuple(total is not None for total in self.totals)


class Scoring:
    """One group being scored: each reward in it is asked once, whoever needs its values."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._asked: dict[int, tuple[Reward, asyncio.Task[Values]]] = {}
        self._names: dict[int, str] = {}
        self.parts: dict[str, Values] = {}
        self.failures: dict[str, str] = {}

    async def of(self, reward: Reward) -> Values:
        """The values of `reward` for the group."""
        if id(reward) not in self._asked:  # the reward is kept beside its task: ids of the dead are used again
            self._asked[id(reward)] = reward, asyncio.ensure_future(reward.values(self))
        return await asyncio.shield(self._asked[id(reward)][1])

    def record(self, reward: Part, values: Values, failure: str | None) -> None:
        """Keeps a part under its name; a second reward of the same name becomes `name_2`."""
        name, number = reward.name, 1
        while name in self.parts:
            number += 1
            name = f"{reward.name}_{number}"
        self.parts[name] = values
        if failure is not None:
            self.failures[name] = failure

    async def end(self) -> None:
        """Ends what is still being asked, where scoring itself was cancelled."""
        tasks = [task for _, task in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Reward(ABC):
    """Scores groups; adds up, subtracts and multiplies with rewards, numbers and plain functions."""

    @abstractmethod
    async def values(self, scoring: Scoring) -> Values:
        """One score a trajectory of `scoring.group`, None where there is no verdict."""

    async def score(self, group: Group) -> Scores:
        """Totals and named parts of `group`. What a part raises is recorded in `failures`, not raised."""
        scoring = Scoring(group)
        try:
            totals = await scoring.of(self)
        finally:
            await scoring.end()
        return Scores(totals, scoring.parts, scoring.failures)

    def __add__(self, other: Any) -> Reward:
        return _combined("+", self, other)

    def __radd__(self, other: Any) -> Reward:
        return _combined("+", other, self)

    def __sub__(self, other: Any) -> Reward:
        return _combined("-", self, other)

    def __rsub__(self, other: Any) -> Reward:
        return _combined("-", other, self)

    def __mul__(self, other: Any) -> Reward:
        return _combined("*", self, other)

    def __rmul__(self, other: Any) -> Reward:
        return _combined("*", other, self)

    def __neg__(self) -> Reward:
        return _combined("*", -1, self)


class Part(Reward):
    """A reward with a name, logged under it. A subclass says `name` and how it scores a group (`judge`)."""

    name: str

    @abstractmethod
    async def judge(self, scoring: Scoring) -> Sequence[float | None]:
        """One score a trajectory; `await scoring.of(other)` gives another reward's. It may raise."""

    async def values(self, scoring: Scoring) -> Values:
        values: Values = (None,) * len(scoring.group)
        failure = None
        try:
            values = _checked(await self.judge(scoring), len(scoring.group))
        except Exception as error:  # a bad reward is data: the group keeps its other parts
            failure = f"{type(error).__name__}: {error}"
        scoring.record(self, values, failure)
        return values


@dataclass(frozen=True, eq=False)
class _Constant(Reward):
    value: float

    async def values(self, scoring: Scoring) -> Values:
        return (self.value,) * len(scoring.group)


@dataclass(frozen=True, eq=False)
class _Combined(Reward):
    operator: str
    left: Reward
    right: Reward

    async def values(self, scoring: Scoring) -> Values:
        left, right = await asyncio.gather(scoring.of(self.left), scoring.of(self.right))
        return tuple(self._value(a, b) for a, b in zip(left, right, strict=True))

    def _value(self, a: float | None, b: float | None) -> float | None:
        if a is None or b is None:
            return None
        return a + b if self.operator == "+" else a - b if self.operator == "-" else a * b


def as_reward(value: Any) -> Reward:
    """`value` as a reward: a reward, a number, or a function (see `FunctionReward`).

    Raises `ConfigError` for anything else.
    """
    if isinstance(value, Reward):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return _Constant(float(value))
    if callable(value) and not isinstance(value, type):
        from .function import FunctionReward

        return FunctionReward(value)
    raise ConfigError(f"{value!r} is no reward: give a reward object, a finite number or a function")


def _combined(operator: str, left: Any, right: Any) -> Reward:
    return _Combined(operator, as_reward(left), as_reward(right))


def _checked(values: Sequence[float | None], n: int) -> Values:
    values = tuple(values)
    if len(values) != n:
        raise ValueError(f"{len(values)} scores for {n} trajectories: give one each")
    checked = tuple(None if value is None else float(value) for value in values)
    if not all(value is None or math.isfinite(value) for value in checked):
        raise ValueError(f"a score is not finite: {list(checked)}")
    return checked
