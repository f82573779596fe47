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
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.messages import Trajectory

Values = tuple[float | None, ...]
"""One score a trajectory; None where there is no verdict."""


@dataclass(frozen=True, eq=False)
class Group:
    """The trajectories of one prompt (GRPO's group), and what the data say of it.

    `reference`: the answer that is right, or several of which any is. `row`: the rest of the data set's row, for
    rewards of one's own. Raises `ConfigError` for a reference that is no text.
    """

    trajectories: Sequence[Trajectory]
    reference: str | Sequence[str]
    row: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.references or not all(isinstance(reference, str) for reference in self.references):
            raise ConfigError(f"the reference answer is {self.reference!r}: give a text, or a list of texts")

    @property
    def references(self) -> tuple[str, ...]:
        """The answers that are right, each once."""
        if isinstance(self.reference, str):
            return (self.reference,)
        return tuple(dict.fromkeys(self.reference)) if isinstance(self.reference, Iterable) else ()

    @property
    def question(self) -> str:
        """The question; empty for a group of none."""
        return self.trajectories[0].question if self.trajectories else ""

    def __len__(self) -> int:
        return len(self.trajectories)


@dataclass(frozen=True)
class Scores:
    """A group's scores. Every tuple has one entry a trajectory, in the group's order.

    `totals` is None where `valid` is False: some part of it has no verdict. `parts` are as each reward gave them,
    before weights and signs, in the order in which they stand in the sum. `failures` says, by the part's name, why it
    has no verdict where it has none.
    """

    totals: Values
    parts: Mapping[str, Values]
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> tuple[bool, ...]:
        """Whether each trajectory has a total."""
        return tuple(total is not None for total in self.totals)


class Reward(ABC):
    """Scores groups; adds up, subtracts and multiplies with rewards, numbers and functions (`FunctionReward`).

    One of your own is a `Part`, or a function.
    """

    needs: tuple[Reward, ...] = ()
    """The rewards that this one asks, in the order in which they are named."""

    @abstractmethod
    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        """One score a trajectory of `scoring.group`, None where there is no verdict."""

    async def score(self, group: Group) -> Scores:
        """Totals and named parts of `group`. What a part raises is recorded in `failures`, not raised."""
        scoring = Scoring(group, self)
        try:
            totals = await scoring.of(self)
        finally:
            await scoring.end()
        return Scores(totals, scoring.parts, scoring.failures)

    def __add__(self, other: Any) -> Reward:
        return _Combined("+", self, as_reward(other))

    def __radd__(self, other: Any) -> Reward:
        return _Combined("+", as_reward(other), self)

    def __sub__(self, other: Any) -> Reward:
        return _Combined("-", self, as_reward(other))

    def __rsub__(self, other: Any) -> Reward:
        return _Combined("-", as_reward(other), self)

    def __mul__(self, other: Any) -> Reward:
        return _Combined("*", self, as_reward(other))

    def __rmul__(self, other: Any) -> Reward:
        return _Combined("*", as_reward(other), self)

    def __neg__(self) -> Reward:
        return -1 * self


class Part(Reward):
    """A reward with a `name`, under which it is logged. `values` may raise: the group keeps its other parts.

    `await scoring.of(other)` gives another reward's values; `await scoring.each(self, calls)` those of one call a
    trajectory.
    """

    name: str

    def learn(self, groups: Sequence[Group]) -> None:
        """Takes note of the groups of a training batch, once they are scored; most rewards learn nothing."""

    def memory(self) -> float | None:
        """What it has learnt, for a run that is resumed; None for nothing."""
        return None

    def remember(self, memory: float) -> None:
        """Goes on from a `memory`."""


class Scoring:
    """One group being scored by one reward: everything in it is asked once, whoever needs its values."""

    def __init__(self, group: Group, reward: Reward) -> None:
        self.group = group
        self.failures: dict[str, str] = {}
        self._asked: dict[Reward, asyncio.Task[Values]] = {}
        self._names: dict[Part, str] = {}
        for part in parts_of(reward):
            self._name(part)

    @property
    def parts(self) -> dict[str, Values]:
        """The values of every part that has been asked, by name; none of one that was not waited for."""
        asked = {name: self._asked[part] for part, name in self._names.items() if part in self._asked}
        none: Values = (None,) * len(self.group)
        return {name: none if task.cancelled() else task.result() for name, task in asked.items()}

    async def of(self, reward: Reward) -> Values:
        """The values of `reward` for the group."""
        if reward not in self._asked:
            self._asked[reward] = asyncio.ensure_future(self._ask(reward))
        return await asyncio.shield(self._asked[reward])

    async def each(self, part: Part, calls: Iterable[Awaitable[float | None]]) -> Values:
        """What each of `calls` gives; None for one that raises, which is noted."""
        given = await asyncio.gather(*calls, return_exceptions=True)
        raised = [error for error in given if isinstance(error, Exception)]
        if raised:
            self.note(part, f"{_said(raised[0])} ({len(raised)} of {len(given)})")
        return tuple(None if isinstance(value, BaseException) else value for value in given)

    def note(self, part: Part, why: str) -> None:
        """Records why `part` has no verdict; the first reason is kept."""
        self.failures.setdefault(self._name(part), why)

    async def end(self) -> None:
        """Ends what is still being asked: scoring itself was cancelled, or who asked has given up."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        for reward, task in self._asked.items():
            if task.cancelled() and isinstance(reward, Part):
                self.note(reward, "what needs it has given up waiting")

    async def _ask(self, reward: Reward) -> Values:
        n = len(self.group)
        try:
            return _checked(await reward.values(self), n)
        except Exception as error:  # a bad reward is data: the group keeps its other parts
            failure = _said(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = "what it asked was cancelled"
        if isinstance(reward, Part):
            self.note(reward, failure)
        return (None,) * n

    def _name(self, part: Part) -> str:
        """Its name; a second part of the same name is `name_2`."""
        if part not in self._names:
            wanted = getattr(part, "name", type(part).__name__)
            name, number = wanted, 1
            while name in self._names.values():
                number += 1
                name = f"{wanted}_{number}"
            self._names[part] = name
        return self._names[part]


@dataclass(frozen=True, eq=False)
class _Constant(Reward):
    value: float

    async def values(self, scoring: Scoring) -> Values:
        return (self.value,) * len(scoring.group)


class _Combined(Reward):
    def __init__(self, operator: str, left: Reward, right: Reward) -> None:
        self.operator, self.needs = operator, (left, right)

    async def values(self, scoring: Scoring) -> Values:
        left, right = await asyncio.gather(*map(scoring.of, self.needs))
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
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        return _Constant(float(value))
    if callable(value) and not isinstance(value, type):
        from .function import FunctionReward

        return FunctionReward(value)
    raise ConfigError(f"{value!r} is no reward: give a reward object, a finite number or a function")


def parts_of(reward: Reward) -> Iterator[Part]:
    """The named rewards in `reward`, from left to right, one that stands in several places each time."""
    if isinstance(reward, Part):
        yield reward
    for needed in reward.needs:
        yield from parts_of(needed)


def _checked(values: Sequence[float | None], n: int) -> Values:
    values = tuple(values)
    if len(values) != n:
        raise ValueError(f"{len(values)} scores for {n} trajectories: give one each")
    for value in values:
        if value is not None and (isinstance(value, str) or not math.isfinite(value)):
            raise ValueError(f"{value!r} is no score: give a finite number, or None for no verdict")
    return tuple(None if value is None else float(value) for value in values)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
