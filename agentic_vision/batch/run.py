"""The batch itself: rows in, a line out as each is finished, until all have one.

    tally = run_batch("questions.jsonl", "answers.jsonl", VisionAgent("qwen3-vl-8b", base_url=...), concurrency=256)

Run again after whatever ended it, it goes on. Rows whose policy failed, and rows that could not be asked, have a line
that says so, and are asked again by the next run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable

from .. import sync
from ..agent import VisionAgent
from ..endpoint import on_overload
from ..errors import ConfigError, ImageError, MisconfiguredError
from ..giving_up import GivingUp
from ..messages import StopReason
from ..same_settings import policy_settings
from .answers import BatchOutcome, answers
from .filed import NotYetError
from .pace import Pace
from .rows import BatchRow, Rows
from .tally import Tally

Watch = Callable[[Tally, Pace], None]


def run_batch(
    rows: str | os.PathLike[str],
    out: str | os.PathLike[str],
    agent: VisionAgent,
    *,
    question: str | None = None,
    concurrency: int = 16,
    policy: str = "",
    watch: Watch | None = None,
) -> Tally:
    """Ask every row of `rows` (JSONL, parquet, or a folder of images, of each of which `question` is asked).

    `out`: the JSONL file of `BatchOutcome`s. `concurrency`: questions at once, fewer while the endpoint is overloaded.
    `policy` names the agent's, so that `out` is not continued with another one. `watch` is called after every row.

    Raises `ConfigError` where `rows` or `out` cannot be used, `MisconfiguredError` where no question can succeed (a
    wrong key, an unknown model: the endpoint says so before it has answered any), and `PolicyError` where none does any
    more (an endpoint that is down); what is done is kept.
    """
    return sync.run(
        arun_batch(rows, out, agent, question=question, concurrency=concurrency, policy=policy, watch=watch)
    )


async def arun_batch(
    rows: str | os.PathLike[str],
    out: str | os.PathLike[str],
    agent: VisionAgent,
    *,
    question: str | None = None,
    concurrency: int = 16,
    policy: str = "",
    watch: Watch | None = None,
) -> Tally:
    """`run_batch`, for async callers; raises as it does (`ConfigError`, `PolicyError`).

    Cancelled, it ends the questions in flight, which have no line then.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency={concurrency}: give the questions to be asked at a time, 1 or more")
    given = Rows(rows, question)
    pace = Pace(concurrency)
    with answers(out, {**policy_settings(agent.policy, policy), **agent.settings}) as file:
        file.begin(given)
        if watch:
            watch(file.tally, pace)

        giving_up = GivingUp(concurrency)

        async def ask(row: BatchRow) -> None:
            try:
                made = await outcome(agent, row)
            except MisconfiguredError as error:
                giving_up.refused(str(error))
                made = BatchOutcome.without(row, StopReason.POLICY_FAILED, str(error))
            file.write(made)
            file.tally.asked += 1
            if watch:
                watch(file.tally, pace)
            if made.stop_reason == StopReason.POLICY_FAILED:
                giving_up.failed(made.detail)
            elif made.stop_reason != "bad_row":
                giving_up.answered()

        await each((row for row in given if not file.holds(row)), ask, pace)
    return file.tally


async def each(rows: Iterable[BatchRow], work: Callable[[BatchRow], Awaitable[None]], pace: Pace) -> None:
    """Do `work` on every row, as many at a time as `pace` says. The first error ends it all, and is raised."""

    async def paced(row: BatchRow) -> None:
        complaints = 0

        def overloaded() -> None:
            nonlocal complaints
            complaints += 1
            pace.overloaded()

        try:
            with on_overload(overloaded):
                await work(row)
        finally:
            pace.leave(smoothly=not complaints)

    try:
        async with asyncio.TaskGroup() as tasks:
            for row in rows:
                await pace.enter()
                tasks.create_task(paced(row))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def outcome(agent: VisionAgent, row: BatchRow) -> BatchOutcome:
    """What comes of one row. Raises `MisconfiguredError`, and `NotYetError` of a `FiledPolicy`."""
    if row.problem is not None:
        return BatchOutcome.without(row, "bad_row", row.problem)
    try:
        result = await agent.aask(list(row.images), row.question)
    except NotYetError:
        raise
    except (ConfigError, ImageError) as error:
        return BatchOutcome.without(row, "bad_row", str(error))
    except Exception as error:  # of a policy or a tool of others: its type is half of the message
        return BatchOutcome.without(row, StopReason.POLICY_FAILED, f"{type(error).__name__}: {error}")
    if result.stop_reason is StopReason.MISCONFIGURED:
        raise MisconfiguredError(result.trajectory.detail or "nothing can be answered until a setting is mended")
    return BatchOutcome.of(row, result.trajectory)
