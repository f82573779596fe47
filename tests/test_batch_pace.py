"""A batch as fast as the endpoint allows, and no faster."""

from __future__ import annotations

import asyncio
import random
import time

from batches import agent, rows
from endpoints import Scripted, chat, failure
from scripted_agent import ANSWER

from agentic_vision.batch.pace import Pace
from agentic_vision.batch.run import run_batch


def test_a_slow_endpoint_is_kept_busy(tmp_path):
    chance = random.Random(0)

    async def slow(_):
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        return chat(ANSWER)

    with Scripted([slow]).serving() as url:
        given, asking = rows(tmp_path, 160), agent(url)
        started = time.monotonic()
        run_batch(given, tmp_path / "out.jsonl", asking, concurrency=32)
        took = time.monotonic() - started
    # 32 in flight at 2 s each; the last of them are not 32 any more. The benchmark has the figure of a quiet machine.
    assert 160 / 32 * 2.0 / took > 0.5


def test_overloaded_it_asks_fewer_at_once_and_climbs_back(tmp_path):
    room, busy, limits = 4, 0, []

    async def answer(_):
        nonlocal busy
        if busy >= room:
            return failure(429, "too many", retry_after_ms="30")
        busy += 1
        await asyncio.sleep(0.03)
        busy -= 1
        return chat(ANSWER)

    def watch(tally, pace):
        nonlocal room
        limits.append(pace.limit)
        if tally.done > 150:
            room = 1000

    endpoint = Scripted([answer])
    with endpoint.serving() as url:
        tally = run_batch(
            rows(tmp_path, 500),
            tmp_path / "out.jsonl",
            agent(url, patience=60.0, timeout=20.0),
            concurrency=32,
            watch=watch,
        )
    assert tally.stop_reasons == {"answered": 500}
    assert limits[0] == 32
    assert min(limits[20:150]) < 8
    assert limits[-1] > 16


def test_the_pace_halves_once_for_a_swarm_of_complaints_and_climbs_by_steps():
    async def told():
        pace = Pace(64)
        for _ in range(64):
            await pace.enter()
        for _ in range(50):
            pace.overloaded()
        assert pace.limit == 32
        for _ in range(32):
            pace.leave(smoothly=False)
        assert pace.in_flight == 32
        pace.overloaded()
        pace.overloaded()
        assert pace.limit == 16
        waiting = asyncio.ensure_future(pace.enter())
        for _ in range(16):
            pace.leave(smoothly=False)
            await asyncio.sleep(0)
            assert not waiting.done()
        pace.leave(smoothly=True)
        await waiting
        assert pace.limit == 16 + 4 / 16
        for _ in range(10_000):
            pace.leave(smoothly=True)
        assert pace.limit == 64

    asyncio.run(told())
