"""Accuracy by an LLM judge."""

from __future__ import annotations

from collections.abc import Sequence

from agentic_vision.judge import Judge
from agentic_vision.messages import Trajectory

from .reward import Part, Scoring


class JudgeReward(Part):
    """1 where the judge holds the answer for right, 0 where for wrong; None where it comes to no verdict.

    It reads text alone: question, reference (any of several), answer. A trajectory without an answer is wrong and
    costs no request; one whose policy failed has no verdict.
    """

    name = "accuracy"

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        return await scoring.each(self, (self._verdict(t, scoring) for t in scoring.group.trajectories))

    async def _verdict(self, trajectory: Trajectory, scoring: Scoring) -> float | None:
        if trajectory.answer is None:
            return None if trajectory.stop_reason.failed else 0.0
        verdict = await self.judge.verdict(trajectory.question, scoring.group.references, trajectory.answer)
        if verdict.correct is None:
            scoring.note(self, verdict.reason or "no verdict")
            return None
        return float(verdict.correct)
