"""When does a question end without the model wanting it to? The limits of one question, and the words for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from .errors import ConfigError, ContextFullError, MisconfiguredError, PolicyError, RefusedError
from .messages import StopReason, Turn

MAX_MALFORMED = 3  # turns: a model that cannot write the protocol after two hints will not learn it now
HURRY = 1.5  # times the slowest turn so far: what the last turn needs, in which the policy is made to answer


@dataclass(frozen=True)
class Limits:
    """What one question may take. `deadline` is in seconds; None is without limit.

    Raises `ConfigError` for a limit of nothing, and for what is no number.
    """

    max_turns: int = 4
    max_visual_tokens: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if limit is None and name != "max_turns":
                continue
            kind, told = (Real, "seconds") if name == "deadline" else (Integral, "a whole number")
            if isinstance(limit, bool) or not isinstance(limit, kind) or not math.isfinite(limit):
                raise ConfigError(f"{name}={limit!r}: give {told}")
            if limit <= 0:
                raise ConfigError(f"{name}={limit}: give more than 0")

    def reached(self, turns: Sequence[Turn]) -> StopReason | None:
        """The limit that is reached with the last of `turns`, which holds no answer."""
        if sum(turn.problem is not None for turn in turns) >= MAX_MALFORMED:
            return StopReason.MALFORMED
        return StopReason.TURN_LIMIT if len(turns) >= self.max_turns else None

    def hurry(self, seconds: float, turns: Sequence[Turn]) -> StopReason | None:
        """The deadline, where after `seconds` there is no time for more than the last turn."""
        left = self.left(seconds)
        if left is None or not turns or left > (1 + HURRY) * max(turn.seconds for turn in turns):
            return None
        return StopReason.DEADLINE

    def left(self, seconds: float) -> float | None:
        """Seconds that are left after `seconds`."""
        return None if self.deadline is None else max(self.deadline - seconds, 0.0)

    def why(self, ending: StopReason) -> str:
        """What ended the question, in words."""
        return {
            StopReason.MALFORMED: f"{MAX_MALFORMED} malformed turns",
            StopReason.TURN_LIMIT: f"no answer in {self.max_turns} turns",
            StopReason.DEADLINE: f"no answer within {self.deadline or 0:g} s",
            StopReason.REPEATED_CALL: "the same call was made again after it was refused",
            StopReason.TOKEN_BUDGET: f"the model asked for views beyond max_visual_tokens={self.max_visual_tokens}",
        }[ending]


def stop_reason(error: PolicyError) -> StopReason:
    """How a question ends whose policy raised `error`."""
    kinds = {
        ContextFullError: StopReason.CONTEXT_FULL,
        RefusedError: StopReason.REFUSED,
        MisconfiguredError: StopReason.MISCONFIGURED,
    }
    return next((stop for kind, stop in kinds.items() if isinstance(error, kind)), StopReason.POLICY_FAILED)
