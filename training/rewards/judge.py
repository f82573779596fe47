"""Accuracy by an LLM judge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentic_vision.judge import Judge
from agentic_vision.messages import Trajectory

from .reward import Group, Part, Scoring


class JudgeReward(Part):
    """1 where the judge holds the answer for right, 0 where for wrong; None where it comes to no verdict.

    It reads text alone: question, reference, answer. A trajectory without an answer is wrong, and costs no request.
    Several references are put to the judge as alternatives.
    """

    name = "accuracy"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def judge(self, scoring: Scoring) -> Sequence[float | None]:
        group = scoring.group
        return await asyncio.gather(*(self._verdict(trajectory, group) for trajectory in group.trajectories))

    async def _verdict(self, trajectory: Trajectory, group: Group) -> float | None:
        if trajectory.answer is None:
            return 0.0
        reference = " or ".join(group.references)
        verdict = await self._judge.verdict(trajectory.question, reference, trajectory.answer)
        return None if verdict.correct is None else float(verdict.correct)
