"""How many questions are asked at once, and how many may wait? Beyond that a client is told when to come again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class FullError(Exception):
    """The queue is full. `retry_after`: whole seconds after which there should be room."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy: try again in {retry_after} s")
        self.retry_after = retry_after


class Admission:
    """At most `in_flight` at once, and `queue` waiting."""

    def __init__(self, in_flight: int, queue: int) -> None:
        self._room = asyncio.Semaphore(in_flight)
        self._most, self._queue = in_flight, queue
        self._seconds = 1.0  # what a question took lately
        self._uploading = 0
        self.running = 0
        self.waiting = 0

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """The time in which a question is read: it takes a place already. Raises `FullError` where there is none."""
        if self.running + self.waiting + self._uploading >= self._most + self._queue:
            raise self._full()
        self._uploading += 1
        try:
            yield
        finally:
            self._uploading -= 1

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """The time of one question. Raises `FullError` where nobody more may wait."""
        if self._room.locked() and self.waiting >= self._queue:
            raise self._full()
        self.waiting += 1
        try:
            await self._room.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._room.release()
            self._seconds += 0.1 * (time.monotonic() - started - self._seconds)

    def _full(self) -> FullError:
        return FullError(math.ceil(max(1.0, self._seconds * (self.waiting + 1) / self._most)))
