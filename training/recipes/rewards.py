"""The rewards of the recipes, as functions of what a recipe may change.

`judge`: the name of a model behind OPENAI_BASE_URL; without one, answers are right where they match exactly.
What it said is remembered for all runs of this user.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from agentic_vision.judge import Judge
from agentic_vision.judge_cache import shared_cache

from ..rewards.accuracy import ExactMatch
from ..rewards.call_ratio import CallRatioPenalty
from ..rewards.format import FormatReward
from ..rewards.judge import JudgeReward
from ..rewards.reward import Part, Reward
from ..rewards.visual_budget import VisualBudget
from ..rewards.visual_cost import VisualCost


def vision_think(
    threshold: float = 0.2,
    weight: float = 0.1,
    variant: Literal["paper", "released"] = "paper",
    format_weight: float = 0.5,
    judge: str | None = None,
) -> Reward:
    """VisionThink's reward (arXiv 2507.13348, Eq. 4 and 5): accuracy, half of the format, less the penalty.

    `threshold`: θ; `weight` 0 takes the penalty away.
    """
    accuracy = _accuracy(judge)
    penalty = CallRatioPenalty(correct=accuracy, threshold=threshold, weight=weight, variant=variant)
    return accuracy + format_weight * FormatReward() - penalty


def thrifty(
    threshold: float = 0.2, weight: float = 0.1, dear: float = 0.2, free: float = 0.5, judge: str | None = None
) -> Reward:
    """VisionThink's reward, less `dear` times the visual tokens beyond `free` of those of full resolution.

    The penalty settles whether to look; the second term with what. A crop up to a quarter of the image is free, so that
    a policy is not paid for crops that miss.
    """
    return vision_think(threshold, weight, judge=judge) - dear * VisualCost(free=free)


def within_budget(
    budget: float = 0.33,
    price: float = 1.0,
    rate: float = 0.1,
    most: float = 10.0,
    format_weight: float = 1.0,
    judge: str | None = None,
) -> Reward:
    """Accuracy and format, at a price of visual tokens that keeps their mean to `budget` of those of full resolution.

    Without the format what is malformed is the cheapest way to be wrong, and where looking is dear it pays.
    """
    return _accuracy(judge) + format_weight * FormatReward() - VisualBudget(budget, price, rate, most)


def exact(format_weight: float = 0.0) -> Reward:
    """Whether the answer is right and, weighted, whether the trajectory keeps to the protocol."""
    return ExactMatch() + format_weight * FormatReward() if format_weight else ExactMatch()


def thrift() -> Reward:
    """What a right answer saved, 0 for a wrong one: a side channel for `hdpo`, in which only what is above 0 counts.

    Counted from 4 times the full-resolution tokens: in four turns no trajectory costs as much, so that a right answer
    is always above 0. Where the count begins makes no difference beyond that, for the mean is taken off.
    """
    return ExactMatch() * (4 - VisualCost())


def looked_well(judge: str | None = None, price: float = 0.5) -> Reward:
    """What a look was worth: whether the answer came out right, less what was looked at. A side channel for `dtpo`."""
    return _accuracy(judge) - price * VisualCost()


def _accuracy(judge: str | None) -> Part:
    return ExactMatch() if judge is None else JudgeReward(_judge(judge))


@cache
def _judge(model: str) -> Judge:
    """One for all: what several rewards ask is asked once."""
    return Judge(model, cache=shared_cache())
