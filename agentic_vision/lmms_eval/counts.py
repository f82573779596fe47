"""What did the questions of a run cost, and how many have no answer? For lmms-eval's results and for its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lmms_eval.models.model_utils.gen_metrics import log_metrics
from loguru import logger

from ..result import Result


@dataclass
class Counts:
    """The results of one call of the model; `skipped`: questions that were not asked, for want of budget."""

    results: list[Result] = field(default_factory=list)
    skipped: int = 0

    def add(self, result: Result) -> None:
        """Count a question that was asked."""
        self.results.append(result)

    def report(self) -> None:
        """Put the figures into `throughput` of lmms-eval's results, and into its log.

        lmms-eval writes `avg_` before the name of each: they are means a question (`failed`, `no_answer`: shares).
        """
        failed = sum(result.stop_reason.failed for result in self.results)
        if failed or self.skipped:
            logger.error(
                f"{failed + self.skipped} of {len(self.results) + self.skipped} questions have nothing to score "
                f"({failed} failed, {self.skipped} not asked) and count as wrong: with --use_cache DIR the next run "
                "asks only them"
            )
        if not self.results:
            return
        output_tokens = sum(result.usage.output_tokens for result in self.results)
        seconds = sum(result.trajectory.seconds for result in self.results)
        log_metrics(
            total_elapsed_time=seconds,
            total_gen_tokens=output_tokens,
            avg_speed=output_tokens / seconds if seconds else 0.0,
            additional_metrics={
                "total_requests": len(self.results),
                "visual_tokens": self._mean(lambda result: result.usage.visual_tokens),
                "full_resolution_tokens": self._mean(lambda result: result.usage.full_resolution_tokens),
                "tool_calls": self._mean(lambda result: len(result.trajectory.calls)),
                "failed": failed / len(self.results),
                "no_answer": self._mean(lambda result: result.answer is None and not result.stop_reason.failed),
            },
        )

    def _mean(self, figure: Callable[[Result], float]) -> float:
        return sum(map(figure, self.results)) / len(self.results)
