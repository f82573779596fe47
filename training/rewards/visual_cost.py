"""What looking cost."""

from __future__ import annotations

from collections.abc import Sequence

from agentic_vision.errors import ConfigError
from agentic_vision.messages import Trajectory

from .reward import Part, Scoring


class VisualCost(Part):
    """Visual tokens seen, the glance included, over those of the same images at full resolution.

    Subtract a share of it. Above 1 where the trajectory looked more than full resolution costs. `free`: the ratio up to
    which looking costs nothing; what is beyond it counts.
    """

    name = "visual_cost"

    def __init__(self, free: float = 0.0) -> None:
        """Raises `ConfigError` for a negative ratio."""
        if not 0 <= free < float("inf"):
            raise ConfigError(f"free is {free}: it is a ratio of visual tokens, 0 or more")
        self.free = free

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        ratios = map(token_ratio, scoring.group.trajectories)
        return [None if ratio is None else max(ratio - self.free, 0.0) for ratio in ratios]


def token_ratio(trajectory: Trajectory) -> float | None:
    """Visual tokens seen over those of full resolution; None where there is no image."""
    usage = trajectory.usage
    return usage.visual_tokens / usage.full_resolution_tokens if usage.full_resolution_tokens else None
