"""Many questions at a time: the results in the order of the rows, and a row that fails is one of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .errors import AgenticVisionError, ConfigError
from .messages import StopReason, Trajectory
from .result import Result
from .whole_text import whole

if TYPE_CHECKING:
    from .agent import VisionAgent


async def ask_many(agent: VisionAgent, rows: Iterable[object], concurrency: int) -> list[Result]:
    """`VisionAgent.abatch`: rows are pairs of images and a question, at most `concurrency` of them in flight."""
    if concurrency < 1:
        raise ConfigError(f"concurrency={concurrency}: give the questions to be asked at a time, 1 or more")
    waiting = enumerate(list(rows))  # whatever is wrong with them is told before anything is paid for
    results: dict[int, Result] = {}

    async def worker() -> None:
        for number, row in waiting:
            results[number] = await _asked(agent, row)

    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(worker())
    return [results[number] for number in sorted(results)]


async def _asked(agent: VisionAgent, row: object) -> Result:
    """The result of one row; an error becomes one."""
    question: Any = ""
    try:
        images, question = _pair(row)
        return await agent.aask(images, question)
    except Exception as error:
        # Our own errors say what to mend; of others the type is half of the message.
        known = isinstance(error, AgenticVisionError)
        failed = Trajectory(
            id=uuid.uuid4().hex,
            question=whole(str(question)),
            sources=(),
            family=agent.policy.family.name,
            tools=agent.toolbox.names,
            stop_reason=StopReason.POLICY_FAILED,
            detail=whole(str(error) if known else f"{type(error).__name__}: {error}"),
        )
        return Result(failed)


def _pair(row: object) -> tuple[Any, Any]:
    """The images and the question of a row of a batch."""
    if isinstance(row, list | tuple) and len(row) == 2:
        return row[0], row[1]
    what = f"{type(row).__name__} of {len(row)}" if isinstance(row, list | tuple) else type(row).__name__
    raise ConfigError(f"a row is a pair (image or list of images, question) and this one is a {what}: give both")
