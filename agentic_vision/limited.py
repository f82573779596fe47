"""Call a function, sync or async, for at most so many seconds, whatever it does with the time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

LEFT_BEHIND = 32
"""Late calls of one function that may still be running: a batch must not fill the process with threads that hang."""


class LateError(Exception):
    """The time is over. (A `TimeoutError` is what the function itself raised.)"""


class Limited:
    """Calls of one function, or of one tool."""

    def __init__(self) -> None:
        self._late: list[Callable[[], bool]] = []  # each says whether it is still running

    async def call(self, function: Callable[[], Any], seconds: float) -> Any:
        """The result of `function()`, awaited where it is awaitable; raises what it raises, or `LateError`.

        A plain function runs in a daemon thread of its own: Python cannot stop it, so it is left behind when
        late, and neither the loop nor the end of the process waits for it. A late coroutine is cancelled and not
        waited for either. (A coroutine that blocks without awaiting stops the loop, as everywhere in asyncio.)
        Raises `RuntimeError`, and calls nothing, while too many that were left behind are still running.
        """
        self._late = [running for running in self._late if running()]
        if len(self._late) >= LEFT_BEHIND:
            raise RuntimeError(f"{len(self._late)} calls of it have not come back yet")
        deadline = asyncio.get_running_loop().time() + seconds
        if _is_async(function):
            return await self._awaited(function(), seconds)
        future, thread = in_daemon_thread(function)
        result = await self._within(future, seconds, thread.is_alive)
        if inspect.isawaitable(result):  # a plain function that returned a coroutine
            return await self._awaited(result, deadline - asyncio.get_running_loop().time())
        return result

    async def _awaited(self, work: Awaitable[Any], seconds: float) -> Any:
        task = asyncio.ensure_future(_contained(work))
        return await self._within(task, seconds, lambda: not task.done())

    async def _within(self, work: asyncio.Future[Any], seconds: float, running: Callable[[], bool]) -> Any:
        try:
            # Not asyncio.timeout: it waits for the cancelled work, which may refuse to be cancelled.
            await asyncio.wait({work}, timeout=max(seconds, 0))
            if work.done():
                if work.cancelled():
                    raise RuntimeError("it cancelled itself")
                return work.result()
            raise LateError
        finally:
            if not work.done():
                work.cancel()
                work.add_done_callback(_forget)
                self._late.append(running)


async def _contained(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # SystemExit and the like, which would end the loop or reach whoever waits
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def _forget(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()  # marks it as seen: nobody is left to hear of it


def _is_async(function: Callable[[], Any]) -> bool:
    function = getattr(function, "func", function)  # of a partial
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def in_daemon_thread(function: Callable[[], Any]) -> tuple[asyncio.Future[Any], threading.Thread]:
    """What `function()` will have given, in a thread of its own that has begun, with the caller's context."""
    # Not an executor: the interpreter joins its threads at exit, so one hung tool would hang the process.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            future.set_exception(error)
        else:  # SystemExit and the like
            future.set_exception(RuntimeError(f"it raised {type(error).__name__}"))

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as raised:
            error = raised  # delivered to the caller
        with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=run, name="agentic-vision-call", daemon=True)
    thread.start()
    return future, thread
