"""The call-ratio penalty: what keeps a policy from always calling, or never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from agentic_vision.errors import ConfigError
from agentic_vision.messages import Trajectory

from .reward import Part, Scoring, as_reward


class CallRatioPenalty(Part):
    """What a trajectory loses for its action, given how the group's *correct* ones acted. Subtract it.

    VisionThink, Eq. 5: with `r = C_direct / (C_direct + C_tool)` over the correct trajectories of the group (those
    whose `correct` is above 0.5), `weight` falls on direct answers where r < `threshold`, and on tool users where
    r >= `threshold`.

    variant "paper": on the action, whether or not its answer is right. "released" (the published trainer): only
    correct trajectories lose; tool users in every group, direct answers where 0 < r < `threshold`.

    A group with no correct trajectory has no r, and nobody loses: it says nothing of which action is the better one.
    Trajectories without a verdict are not counted, and r is that of the others; in the released variant, which needs
    the verdict, they have no penalty either, and where the whole group has none nobody has one. Every well-formed call
    makes a tool user, also one that failed.
    """

    name = "call_ratio_penalty"

    def __init__(
        self,
        correct: Any,
        threshold: float = 0.2,
        weight: float = 0.1,
        variant: Literal["paper", "released"] = "paper",
    ) -> None:
        """`correct`: the accuracy reward. Raises `ConfigError` for impossible settings."""
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold is {threshold}: it is a share of the correct answers, from 0 to 1")
        if variant not in ("paper", "released"):
            raise ConfigError(f"variant is {variant!r}: choose 'paper' or 'released'")
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"weight is {weight}: it is what is lost, 0 or more")
        self.threshold, self.weight, self.variant = threshold, weight, variant
        self.correct = as_reward(correct)
        self.needs = (self.correct,)

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        verdicts = await scoring.of(self.correct)
        if all(verdict is None for verdict in verdicts):
            return verdicts
        right = [None if verdict is None else verdict > 0.5 for verdict in verdicts]
        tool = [called(trajectory) for trajectory in scoring.group.trajectories]
        ratio = direct_ratio(right, tool)
        if self.variant == "paper":
            return [self._paper(ratio, calls) for calls in tool]
        return [self._released(ratio, calls, good) for calls, good in zip(tool, right, strict=True)]

    def _paper(self, ratio: float | None, calls: bool) -> float:
        if ratio is None:
            return 0.0
        return self.weight if calls == (ratio >= self.threshold) else 0.0

    def _released(self, ratio: float | None, calls: bool, good: bool | None) -> float | None:
        if good is None:
            return None
        if not good or ratio is None:
            return 0.0
        return self.weight if calls or 0 < ratio < self.threshold else 0.0


def called(trajectory: Trajectory) -> bool:
    """Whether the policy called a tool in any turn, well-formed."""
    return bool(trajectory.calls)


def direct_ratio(right: Sequence[bool | None], tool: Sequence[bool]) -> float | None:
    """r of Eq. 5: among the right trajectories, the share that answered directly; None where none is right."""
    direct = [not calls for good, calls in zip(right, tool, strict=True) if good]
    return sum(direct) / len(direct) if direct else None
