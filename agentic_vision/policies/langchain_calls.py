"""How is a chat model of LangChain called, whichever event loop asks?

Providers' packages keep one pool of asynchronous connections for the process, which breaks when two loops use it. So a
model is called asynchronously in one loop alone, and never in our own background loop, where the application's chat
models are not; in every other loop it is called as from a program without any, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from .. import sync
from ..limited import in_daemon_thread

_choosing = threading.Lock()
_END = object()


class ChatModelCalls:
    """The calls of one chat model: `model` below is it, or it with tools bound. Raises what it raises."""

    def __init__(self) -> None:
        self._home: weakref.ref[asyncio.AbstractEventLoop] | None = None

    async def invoke(self, model: Any, messages: list[Any]) -> Any:
        """The message that it answers with."""
        if not self._at_home():
            with contextlib.suppress(NotImplementedError):  # of a model that is asynchronous alone
                return await _threaded(partial(model.invoke, messages))
        return await model.ainvoke(messages)

    async def stream(self, model: Any, messages: list[Any]) -> AsyncGenerator[Any, None]:
        """The chunks of that message as they come."""
        if not self._at_home():
            chunks = model.stream(messages)
            try:
                with contextlib.suppress(NotImplementedError):
                    while (chunk := await _threaded(partial(next, chunks, _END))) is not _END:
                        yield chunk
                    return
            finally:
                with contextlib.suppress(ValueError):  # a thread is in it: left early, it is left to end by itself
                    chunks.close()
        async with aclosing(model.astream(messages)) as later:
            async for chunk in later:
                yield chunk

    def _at_home(self) -> bool:
        loop = asyncio.get_running_loop()
        with _choosing:
            if self._home is None and not sync.is_background(loop):
                self._home = weakref.ref(loop)
            return self._home is not None and self._home() is loop

    def __getstate__(self) -> dict[str, object]:
        return {"_home": None}


async def _threaded(call: partial[Any]) -> Any:
    done, _ = in_daemon_thread(call)
    return await done
