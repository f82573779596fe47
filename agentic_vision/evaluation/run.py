"""Paired evaluation: the same questions in the same order under several strategies, one policy, one graph.

    summary = evaluate(rows, policy, ["glance", "full", "agent"], "out")

Outcomes are written as they come: a run that was killed goes on where it stopped, and what was in trouble (an image
that was gone, an endpoint or a judge that was down) is tried again.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from .. import sync
from ..errors import ConfigError
from ..giving_up import GivingUp
from ..judge import Judge
from ..messages import StopReason
from ..policy import Policy
from ..rows import Fault, Row
from ..whole_file import write_whole
from .asking import Asking
from .folder import SUMMARY, Folder, as_json, opened
from .outcomes import Outcome, Trouble
from .replies import Replies
from .scoring import scorer
from .strategies import STRATEGIES, Strategy, strategy
from .summary import Summary, summarised

Progress = Callable[[int, int], None]

ROUND = 8  # batches of one strategy before it is the next one's turn


def evaluate(
    rows: Sequence[Row],
    policy: Policy,
    strategies: Sequence[str],
    out: str | os.PathLike[str],
    *,
    name: str = "",
    scoring: str | Judge = "exact",
    replies: str | os.PathLike[str] | None = None,
    tools: Sequence[Any] | None = None,
    glance: float = 0.25,
    max_turns: int = 4,
    max_visual_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    faults: Iterable[Fault] = (),
    progress: Progress | None = None,
) -> Summary:
    """Ask every row under every strategy; `evaluation.strategies` and `evaluation.scores` tell names and figures.

    `scoring`: a rule of `agentic_vision.matching`, or a judge. `replies`: a SQLite file in which the policy's replies
    are kept, and found again by a later run, in this folder or another. `glance`: the share of the full visual tokens.
    `batch_size` questions are in flight. `name` says which policy this is, so that neither folder nor replies are
    another one's. `faults`: rows that could not be read, for the summary. `progress(done, all)` is called before the
    first question and after every one.

    What cannot be scored is an outcome in `Trouble`, counted by the summary. Raises `ConfigError` where a row lacks
    what a strategy needs or `out` holds another evaluation, and `PolicyError` where no question can succeed (a wrong
    key), or none does any more (an endpoint that is down): what is done is kept.
    """
    if not strategies:
        raise ConfigError(f"no strategy is given: choose from {', '.join(STRATEGIES)}")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: give the questions to be asked at once, 1 or more")
    twice = [id for id, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise ConfigError(f"the id {twice[0]!r} comes twice among the rows: make ids unique")
    ways = [strategy(named, seed=seed) for named in dict.fromkeys(strategies)]
    # What a row lacks, and what the policy cannot do, is told before the first question.
    prunings = {way.plan(row).pruning for row in rows for way in ways}
    scores = scorer(scoring)
    options = {"max_turns": max_turns, "max_visual_tokens": max_visual_tokens}

    async def work() -> Summary:
        with closing(Replies(Path(replies))) if replies is not None else nullcontext() as memory:
            asking = Asking(policy, scores, name, memory, glance, seed, options, tools)
            for pruning in prunings:
                asking.pruned(pruning)
            # In here, not around: one who interrupts this does not wait until the questions in flight have ended.
            with opened(Path(out), asking.settings) as folder:
                folder.check_images(rows)
                run = _Run(asking, folder, rows, ways, batch_size, progress)
                await run.all()
                folder.close()  # tidied, it is older than its summary
                summary = summarised({way.name: run.outcomes(way) for way in ways}, faults)
                write_whole(folder.path / SUMMARY, as_json(summary, indent=2))
                return summary

    return sync.run(work())


class _Run:
    """The questions of one evaluation, and how far it has come."""

    def __init__(
        self,
        asking: Asking,
        folder: Folder,
        rows: Sequence[Row],
        ways: Sequence[Strategy],
        batch_size: int,
        progress: Progress | None,
    ) -> None:
        self._asking, self._folder, self._rows, self._ways = asking, folder, rows, ways
        self._batch_size, self._progress = batch_size, progress
        self._done = sum(self._settled(row, way) for row in rows for way in ways)
        self._giving_up = GivingUp(batch_size)

    async def all(self) -> None:
        """Ask what is not settled. Raises `PolicyError` where no question can succeed, or none does any more."""
        self._tell()
        size = ROUND * self._batch_size
        # Strategies take turns, never at once: a dear one would slow down the others. And whenever a run is looked at
        # or killed, nearly all that it has is paired.
        for start in range(0, len(self._rows), size):
            for way in self._ways:
                todo = iter([row for row in self._rows[start : start + size] if not self._settled(row, way)])
                try:
                    async with asyncio.TaskGroup() as workers:
                        for _ in range(self._batch_size):
                            workers.create_task(self._work(todo, way))
                except BaseExceptionGroup as errors:
                    raise errors.exceptions[0] from None

    def outcomes(self, way: Strategy) -> list[Outcome]:
        """Of one strategy, in the order of the rows."""
        found = [self._folder.outcome_of(row, way.name) for row in self._rows]
        return [outcome for outcome in found if outcome is not None]

    async def _work(self, rows: Iterable[Row], way: Strategy) -> None:
        for row in rows:
            before = self._folder.outcome_of(row, way.name)
            if before is not None and before.trouble is Trouble.NO_VERDICT:
                self._write(await self._asking.scored(row, before))
                continue
            outcome = await self._asking.outcome(row, way, self._folder.asked(row))
            ended = outcome.trajectory.stop_reason if outcome.trajectory is not None else None
            if ended is StopReason.MISCONFIGURED:
                self._giving_up.refused(outcome.detail)
            self._write(outcome)
            if outcome.trouble is Trouble.POLICY_FAILED:
                self._giving_up.failed(outcome.detail)
            elif outcome.trouble is not Trouble.BAD_ROW:
                self._giving_up.answered()

    def _write(self, outcome: Outcome) -> None:
        self._folder.write(outcome)
        self._done += 1
        self._tell()

    def _settled(self, row: Row, way: Strategy) -> bool:
        outcome = self._folder.outcome_of(row, way.name)
        return outcome is not None and outcome.trouble is None

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, len(self._rows) * len(self._ways))
