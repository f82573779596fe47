"""Rewards: objects that score a group, and add up. Importing them loads neither torch nor verl."""

from .accuracy import Anls, ExactMatch, MultipleChoice, NumericMatch
from .call_ratio import CallRatioPenalty
from .format import FormatReward
from .function import FunctionReward
from .judge import JudgeReward
from .reward import Group, Part, Reward, Scores, Scoring
from .visual_budget import VisualBudget
from .visual_cost import VisualCost

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
    "Scoring",
    "VisualBudget",
    "VisualCost",
]
