"""Run coroutines for callers that are not async, in one background loop for the whole process.

It works where a loop is running already (notebooks), and a policy's connections and batches outlive a call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from .errors import ConfigError

T = TypeVar("T")

CLOSING = 5.0  # seconds that a stream which is left early has to clean up

_lock = threading.Lock()
_state: dict[str, Any] = {}


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Interrupting the caller (Ctrl-C) cancels it."""
    future = _submit(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items as they come; when the caller stops early, the generator is cancelled and cleaned up."""
    # All of it in one task: context variables and cancel scopes inside `items` must not change tasks.
    inbox: SimpleQueue[tuple[T] | None] = SimpleQueue()
    ended = threading.Event()

    async def pump() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    inbox.put((item,))
        finally:
            ended.set()
            inbox.put(None)

    future = _submit(pump())
    try:
        while (item := inbox.get()) is not None:
            yield item[0]
        future.result()  # raises what ended it
    finally:
        if future.cancel():
            ended.wait(CLOSING)


def is_background(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` is the one in which `run` and `iterate` work."""
    return loop is _state.get("loop")


def _submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    loop = _loop()
    if threading.current_thread() is _state["thread"]:
        work.close()
        raise ConfigError("the agent's own loop would wait for itself: use the async form, aask or astream")
    return asyncio.run_coroutine_threadsafe(work, loop)


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if _state.get("pid") != os.getpid():  # not started yet, or in a fork, where threads do not follow
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="agentic-vision", daemon=True)
            _state.update(pid=os.getpid(), loop=loop, thread=thread)
            thread.start()
        return cast(asyncio.AbstractEventLoop, _state["loop"])
