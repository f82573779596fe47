"""Does every turn keep to the protocol?"""

from __future__ import annotations

from collections.abc import Sequence

from agentic_vision.messages import ILL_FORMED_CALLS, StopReason, Trajectory, Turn

from .reward import Part, Scoring


class FormatReward(Part):
    """1 where the whole trajectory keeps to the protocol, else 0 (VisionThink, 3.3, which weighs it 0.5).

    Every turn is a thought in `<think>`, then nothing but calls in `<tool_call>` (JSON that a tool of the toolbox
    accepts) or one `<answer>`, and the last one answers.
    """

    name = "format"

    async def values(self, scoring: Scoring) -> Sequence[float]:
        return [float(well_formed(trajectory)) for trajectory in scoring.group.trajectories]


def well_formed(trajectory: Trajectory) -> bool:
    """Whether every turn of `trajectory` keeps to the protocol."""
    refused = any(step.failure and step.failure.kind in ILL_FORMED_CALLS for step in trajectory.observations)
    answered = trajectory.stop_reason is StopReason.ANSWERED
    return answered and not refused and all(map(_well_formed, trajectory.turns))


def _well_formed(turn: Turn) -> bool:
    """A thought, then calls alone or an answer alone. The `<think>` itself may have been the chat template's."""
    thought, closed, rest = turn.text.strip().removeprefix("<think>").partition("</think>")
    if turn.problem is not None or not closed or not thought.strip() or "<think>" in thought:
        return False
    tag = "tool_call" if turn.calls else "answer"
    while rest := rest.strip():
        if not rest.startswith(f"<{tag}>"):
            return False
        _, closed, rest = rest.partition(f"</{tag}>")
        if not closed:
            return False
    return True
