"""A stream that is made in one task and read in another: deadlines and cancel scopes inside it never change tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")


class Pumped(Generic[T]):
    """Runs `parts` in a task of its own, from now on, until it ends or is cancelled."""

    def __init__(self, parts: AsyncGenerator[T, None]) -> None:
        self._inbox: asyncio.Queue[T | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._pump(parts))

    async def _pump(self, parts: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(parts):
                async for part in parts:
                    self._inbox.put_nowait(part)
        finally:
            self._inbox.put_nowait(None)

    async def next(self) -> T | None:
        """The next part; None at the end. Raises what `parts` raised."""
        part = await self._inbox.get()
        if part is None:
            await self._task
        return part

    async def rest(self, first: T | None) -> AsyncGenerator[T, None]:
        """`first`, and what follows. Whoever stops reading early ends `parts`."""
        part = first
        try:
            while part is not None:
                yield part
                part = await self.next()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends it."""
        self._task.cancel()
