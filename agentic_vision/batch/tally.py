"""What has come of a batch so far: the figures of its progress bar and of its summary."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..messages import StopReason

if TYPE_CHECKING:
    from .answers import BatchOutcome


@dataclass
class Tally:
    """The figures of all rows that have an outcome, whichever run asked them.

    `gone`: outcomes of rows that are no longer among the rows. `asked`: in this run. `cost`: US dollars, None where no
    price is known.
    """

    rows: int = 0
    gone: int = 0
    asked: int = 0
    stop_reasons: Counter[str] = field(default_factory=Counter)
    tool_calls: int = 0
    visual_tokens: int = 0
    full_resolution_tokens: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost: float | None = None
    _started: float = field(default_factory=time.monotonic)

    def add(self, outcome: BatchOutcome) -> None:
        """Count a line of the file."""
        usage = outcome.usage
        self.stop_reasons[str(outcome.stop_reason)] += 1
        self.tool_calls += len(outcome.tool_calls)
        self.visual_tokens += usage.visual_tokens
        self.full_resolution_tokens += usage.full_resolution_tokens
        self.input_tokens += usage.input_tokens
        self.cached_tokens += usage.cached_tokens
        self.output_tokens += usage.output_tokens
        self.requests += usage.requests
        if usage.cost is not None:
            self.cost = (self.cost or 0.0) + usage.cost

    @property
    def done(self) -> int:
        """Rows that have an outcome."""
        return self.stop_reasons.total() - self.gone

    @property
    def failed(self) -> int:
        """Rows whose policy failed: the next run asks them again."""
        return self.stop_reasons[StopReason.POLICY_FAILED]

    @property
    def saved(self) -> float:
        """Share of the full-resolution tokens not spent."""
        return 1 - self.visual_tokens / self.full_resolution_tokens if self.full_resolution_tokens else 0.0

    @property
    def seconds(self) -> float:
        """Since this run began."""
        return time.monotonic() - self._started

    def as_json(self) -> dict[str, Any]:
        """The object of `batch --json`."""
        usage = ("visual_tokens", "full_resolution_tokens", "saved", "input_tokens", "cached_tokens", "output_tokens")
        return {
            "rows": self.rows,
            "done": self.done,
            "asked": self.asked,
            "gone": self.gone,
            "stop_reasons": dict(self.stop_reasons),
            "tool_calls": self.tool_calls,
            "usage": {name: getattr(self, name) for name in (*usage, "requests", "cost")},
            "seconds": round(self.seconds, 3),
        }
