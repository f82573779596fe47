"""Training the decision to look again: rewards that compose, data, and the recipes that use them."""

from .rewards import (
    Anls,
    CallRatioPenalty,
    ExactMatch,
    FormatReward,
    FunctionReward,
    Group,
    JudgeReward,
    MultipleChoice,
    NumericMatch,
    Part,
    Reward,
    Scores,
    VisualCost,
)

__all__ = [
    "Anls",
    "CallRatioPenalty",
    "ExactMatch",
    "FormatReward",
    "FunctionReward",
    "Group",
    "JudgeReward",
    "MultipleChoice",
    "NumericMatch",
    "Part",
    "Reward",
    "Scores",
    "VisualCost",
]
