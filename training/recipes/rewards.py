"""The rewards of the recipes, as functions of what a recipe may change."""

from __future__ import annotations

from typing import Any

from ..rewards.accuracy import ExactMatch
from ..rewards.call_ratio import CallRatioPenalty
from ..rewards.reward import Reward
from ..rewards.visual_cost import VisualCost


def vision_think(threshold: float = 0.2, weight: float = 0.1, **options: Any) -> Reward:
    """VisionThink's (arXiv 2507.13348, Eq. 4 and 5), with exact match for the judge. `threshold`: θ."""
    accuracy = ExactMatch()
    return accuracy - CallRatioPenalty(correct=accuracy, threshold=threshold, weight=weight, **options)


def thrifty(threshold: float = 0.2, weight: float = 0.1, dear: float = 0.2, free: float = 0.5) -> Reward:
    """VisionThink's reward, less `dear` times the visual tokens beyond `free` of those of full resolution.

    The penalty settles whether to look; the second term with what. A crop up to a quarter of the image is free, so that
    a policy is not paid for crops that miss.
    """
    accuracy = ExactMatch()
    penalty = CallRatioPenalty(correct=accuracy, threshold=threshold, weight=weight)
    return accuracy - penalty - dear * VisualCost(free=free)


def exact() -> Reward:
    """Whether the answer is right, and nothing else."""
    return ExactMatch()


def thrift() -> Reward:
    """What a right answer saved of the full-resolution tokens, 0 for a wrong one: a side channel for `hdpo`."""
    return ExactMatch() * (4 - VisualCost())
