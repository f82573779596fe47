"""The rewards of the recipes, as functions of what a recipe may change."""

from __future__ import annotations

from typing import Any

from ..rewards.accuracy import ExactMatch
from ..rewards.call_ratio import CallRatioPenalty
from ..rewards.reward import Reward


def vision_think(threshold: float = 0.2, weight: float = 0.1, **options: Any) -> Reward:
    """VisionThink's (arXiv 2507.13348, Eq. 4 and 5), with exact match for the judge. `threshold`: θ."""
    accuracy = ExactMatch()
    return accuracy - CallRatioPenalty(correct=accuracy, threshold=threshold, weight=weight, **options)
