"""Evaluation: the same questions under several strategies, one policy, paired, with what the figures are worth."""

from .outcomes import Outcome, Trouble
from .run import evaluate
from .scores import Scores
from .scripted import Script
from .strategies import STRATEGIES, Plan, Pruning
from .summary import Summary

__all__ = ["STRATEGIES", "Outcome", "Plan", "Pruning", "Scores", "Script", "Summary", "Trouble", "evaluate"]
