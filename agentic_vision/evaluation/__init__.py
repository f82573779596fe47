"""Evaluation: the same questions under several strategies, one policy, paired, with what the figures are worth."""

from .run import Summary, evaluate
from .scores import Outcome, Scores
from .strategies import STRATEGIES

__all__ = ["STRATEGIES", "Outcome", "Scores", "Summary", "evaluate"]
