"""What looking cost."""

from __future__ import annotations

from collections.abc import Sequence

from .reward import Part, Scoring


class VisualCost(Part):
    """Visual tokens seen, the glance included, over those of the same images at full resolution.

    Subtract a share of it. Above 1 where the trajectory looked more than full resolution costs.
    """

    name = "visual_cost"

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        usages = [trajectory.usage for trajectory in scoring.group.trajectories]
        return [u.visual_tokens / u.full_resolution_tokens if u.full_resolution_tokens else None for u in usages]
