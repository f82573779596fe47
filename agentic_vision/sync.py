"""Run coroutines for callers that are not async, in one background loop for the whole process.

It works where a loop is running already (notebooks), and a policy's connections and batches outlive a single
call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar, cast

from .errors import ConfigError

T = TypeVar("T")

_lock = threading.Lock()
_state: dict[str, Any] = {}


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Interrupting the caller (Ctrl-C) cancels it."""
    loop = _loop()
    if threading.current_thread() is _state["thread"]:
        work.close()
        raise ConfigError(
            "this runs inside the agent's own loop, which would wait for itself: use the async form"
        )
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items, one by one as they are asked for; closes the generator when the caller stops early."""

    async def following() -> tuple[T, ...]:
        async for item in items:
            return (item,)
        return ()

    try:
        while batch := run(following()):
            yield from batch
    finally:
        run(items.aclose())


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if _state.get("pid") != os.getpid():  # not started yet, or in a fork, where threads do not follow
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="agentic-vision", daemon=True)
            _state.update(pid=os.getpid(), loop=loop, thread=thread)
            thread.start()
        return cast(asyncio.AbstractEventLoop, _state["loop"])
