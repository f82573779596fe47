"""Training the decision to look again: rewards that compose, data, and the recipes that use them.

The rewards are imported when they are first used: the command line comes through here for its `--help`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rewards import Anls as Anls
    from .rewards import CallRatioPenalty as CallRatioPenalty
    from .rewards import ExactMatch as ExactMatch
    from .rewards import FormatReward as FormatReward
    from .rewards import FunctionReward as FunctionReward
    from .rewards import Group as Group
    from .rewards import JudgeReward as JudgeReward
    from .rewards import MultipleChoice as MultipleChoice
    from .rewards import NumericMatch as NumericMatch
    from .rewards import Part as Part
    from .rewards import Reward as Reward
    from .rewards import Scores as Scores
    from .rewards import VisualBudget as VisualBudget
    from .rewards import VisualCost as VisualCost

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
    "VisualBudget",
    "VisualCost",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import rewards

    return getattr(rewards, name)
