"""How many questions are in flight? As many as one likes, until the endpoint is overloaded: then half as many.

From there it climbs back, a step for every round of questions that were answered without complaint (additive
increase, multiplicative decrease: what TCP does).
"""

from __future__ import annotations

import asyncio

STEPS = 16  # from nothing to all


class Pace:
    """At most `most` questions at once, fewer while the endpoint says that they are too many. Of one event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit: float = most
        self.in_flight = 0
        self._step = max(1.0, most / STEPS)
        self._left = asyncio.Event()

    async def enter(self) -> None:
        """Wait until there is room for one more."""
        while self.in_flight >= int(self.limit):
            self._left.clear()
            await self._left.wait()
        self.in_flight += 1

    def leave(self, *, smoothly: bool) -> None:
        """A question is over; `smoothly`: without an overload."""
        self.in_flight -= 1
        if smoothly:
            self.limit = min(self.most, self.limit + self._step / self.limit)
        self._left.set()

    def overloaded(self) -> None:
        """The endpoint turned a request away."""
        # Requests come back in swarms: what was in flight before a cut says nothing about what is left after it.
        if self.in_flight <= self.limit:
            self.limit = max(1.0, self.in_flight / 2)
