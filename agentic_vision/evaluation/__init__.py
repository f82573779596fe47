"""Evaluation: the same questions under several strategies, one policy, paired, with what the figures are worth.

Names are imported when they are first used: the command line comes through here for its `--help`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import Compared as Compared
    from .outcomes import Outcome as Outcome
    from .outcomes import Trouble as Trouble
    from .run import evaluate as evaluate
    from .scores import StrategyScores as StrategyScores
    from .scripted import Script as Script
    from .strategies import STRATEGIES as STRATEGIES
    from .strategies import Plan as Plan
    from .strategies import Pruning as Pruning
    from .summary import Summary as Summary

_HOMES = {
    "Compared": "compare",
    "Outcome": "outcomes",
    "Plan": "strategies",
    "Pruning": "strategies",
    "STRATEGIES": "strategies",
    "StrategyScores": "scores",
    "Script": "scripted",
    "Summary": "summary",
    "Trouble": "outcomes",
    "evaluate": "run",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
