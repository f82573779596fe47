"""Does the server hold under load? `python benchmarks/reliability/soak.py [--seconds 900] [--clients 64]`

`agentic-vision serve` in front of a stand-in of a model, asked by real `openai` clients: plain and streamed, small and
large pictures, slow readers, and clients that leave half-way. Every question carries a number of its own, which is its
answer, so that a crossed answer shows. At the end comes SIGTERM, in the middle of questions. What must hold is in
`breaches`; the exit code is 1 where something does not.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
from own_process import served
from PIL import Image
from upstream import Upstream

DEADLINE = 20.0  # seconds a request
IN_FLIGHT, QUEUE = 32, 16  # of the server: with more clients than both, some are turned away
KINDS = {"plain": 55, "streamed": 20, "slow reader": 8, "leaves": 12, "large picture": 5}  # of a hundred questions
SETTLE = 5.0  # seconds after the last client, in which work that nobody waits for must have ended
WARM = 60.0  # seconds until the memory tells of leaks and not of the first large pictures


@dataclass
class Seen:
    """What the clients saw. `crossed`: answers to another question; `lost`: no answer, and no error either."""

    outcomes: Counter[str] = field(default_factory=Counter)
    crossed: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)
    resident: list[tuple[float, float]] = field(default_factory=list)  # seconds, MB of the server


def picture(width: int, height: int) -> str:
    """A data URI."""
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 30).convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


class Client:
    """One of many, that asks one question after another until the time is over."""

    def __init__(self, url: str, seen: Seen, dice: random.Random, pictures: dict[str, str]) -> None:
        self._client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, timeout=3 * DEADLINE)
        self._seen, self._dice, self._pictures = seen, dice, pictures

    async def until(self, over: float) -> None:
        while time.monotonic() < over:
            [kind] = self._dice.choices(list(KINDS), list(KINDS.values()))
            await self.ask(kind)
        await self._client.close()

    async def ask(self, kind: str) -> None:
        """One question; what came of it is counted."""
        number, started = str(self._dice.randrange(10**9)), time.perf_counter()
        try:
            said = await self._asked(kind, number)
        except openai.RateLimitError:
            self._seen.outcomes["429"] += 1
            await asyncio.sleep(0.2)
            return
        except openai.APIStatusError as error:
            self._seen.outcomes[f"{error.status_code}"] += 1
            return
        except openai.APIConnectionError:
            self._seen.outcomes["no connection"] += 1
            return
        if said is None:
            self._seen.outcomes["left"] += 1
            return
        self._seen.outcomes["answered"] += 1
        self._seen.seconds.append(time.perf_counter() - started)
        self._seen.lost += not said
        self._seen.crossed += bool(said) and said != number

    async def _asked(self, kind: str, number: str) -> str | None:
        """The answer; None for a client that left."""
        uri = self._pictures["large" if kind == "large picture" else "small"]
        parts = [
            {"type": "image_url", "image_url": {"url": uri}},
            {"type": "text", "text": f"What is number {number}?"},
        ]
        request: dict[str, Any] = {"model": "soaked", "messages": [{"role": "user", "content": parts}]}
        if kind in ("plain", "large picture"):
            done = await self._client.chat.completions.create(**request)
            return done.choices[0].message.content
        if kind == "leaves":
            try:
                async with asyncio.timeout(self._dice.uniform(0.02, 0.5)):
                    done = await self._client.chat.completions.create(**request)
                    return done.choices[0].message.content
            except TimeoutError:
                return None
        said = ""
        stream = await self._client.chat.completions.create(**request, stream=True)
        async for chunk in stream:
            said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            if kind == "slow reader":
                await asyncio.sleep(0.1)
        return said


async def load(url: str, server: int, seconds: float, clients: int, seed: int) -> Seen:
    """All clients at once, for so long."""
    seen, over = Seen(), time.monotonic() + seconds
    pictures = {"small": picture(320, 240), "large": picture(4000, 3000)}

    async def watch() -> None:
        started = time.monotonic()
        while True:
            seen.resident.append((time.monotonic() - started, resident_mb(server)))
            await asyncio.sleep(max(0.2, seconds / 200))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(Client(url, seen, random.Random(seed + n), pictures).until(over) for n in range(clients)))
    watching.cancel()
    seen.resident.append((seconds, resident_mb(server)))
    return seen


async def ended(url: str, server: subprocess.Popen[str], questions: int) -> Counter[str]:
    """What becomes of questions in the middle of which SIGTERM comes."""
    seen, small = Seen(), {"small": picture(320, 240)}
    clients = [Client(url, seen, random.Random(n), small) for n in range(questions)]
    asked = [asyncio.create_task(client.ask("plain")) for client in clients]
    await asyncio.sleep(0.3)
    server.send_signal(signal.SIGTERM)
    await asyncio.gather(*asked)
    seen.outcomes["crossed or lost"] += seen.crossed + seen.lost
    return +seen.outcomes


def resident_mb(process: int) -> float:
    """What a process has in memory (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """MB a minute over the second half, when caches are warm; and the spread around that line, in MB."""
    late = points[-max(2, len(points) // 2) :]
    line = statistics.linear_regression([t for t, _ in late], [mb for _, mb in late])
    return 60 * line.slope, statistics.pstdev(mb - line.slope * t for t, mb in late)


def breaches(told: dict[str, Any]) -> list[str]:
    """What does not hold."""
    found = []
    if told["crossed"] or told["lost"]:
        found.append(f"{told['crossed']} crossed and {told['lost']} lost answers")
    odd = set(told["outcomes"]) - {"answered", "429", "left"}
    if odd:
        found.append(f"outcomes that should not be: {sorted(odd)}")
    if told["p99_s"] > DEADLINE:
        found.append(f"the 99th percentile is {told['p99_s']} s, the deadline {DEADLINE} s")
    if told["still_at_work"]:
        found.append(f"{told['still_at_work']} questions at the model, though nobody waits for them")
    growth = told["slope_mb_a_minute"] * told["seconds"] / 120  # over the second half
    if told["seconds"] >= 2 * WARM and growth > max(10.0, 3 * told["spread_mb"]):
        found.append(f"the server grew by {growth:.1f} MB in the second half")
    # What the server did not take any more has no connection, and did not get as far as the model.
    if set(told["at_sigterm"]) - {"answered", "429", "no connection"} or told["taken_at_sigterm"] != told[
        "at_sigterm"
    ].get("answered", 0):
        found.append(f"at SIGTERM: {told['taken_at_sigterm']} taken, {told['at_sigterm']}")
    return found


def soaked(
    seconds: float, clients: int, seed: int = 0, *, in_flight: int = IN_FLIGHT, queue: int = QUEUE
) -> dict[str, Any]:
    """The figures of a run."""
    with served(Upstream) as upstream:
        return _soaked(upstream, seconds, clients, seed, in_flight, queue)


def _soaked(upstream: str, seconds: float, clients: int, seed: int, in_flight: int, queue: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0", "--model", "soaked", "--policy", "m"]
    command += ["--base-url", f"{upstream}/v1", "--deadline", f"{DEADLINE:g}"]
    command += ["--in-flight", f"{in_flight}", "--queue", f"{queue}"]
    env = {**os.environ, "OPENAI_API_KEY": "k", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stderr is not None
            address = None
            while address is None:  # what is said before: that the model is not known by its name
                address = re.search(r"http://\S+/v1", server.stderr.readline())
            url = address.group()
            seen = asyncio.run(load(url, server.pid, seconds, clients, seed))
            time.sleep(SETTLE)
            at_work = httpx.get(f"{upstream}/stats").json()
            at_sigterm = asyncio.run(ended(url, server, in_flight))
            code = server.wait(2 * DEADLINE)
            taken = httpx.get(f"{upstream}/stats").json()["begun"] - at_work["begun"]
        finally:
            server.kill()
    growth, spread = slope(seen.resident)
    answered = sorted(seen.seconds) or [math.inf]
    told = {
        "seconds": seconds,
        "clients": clients,
        "outcomes": dict(seen.outcomes),
        "crossed": seen.crossed,
        "lost": seen.lost,
        "median_s": round(statistics.median(answered), 3),
        "p99_s": round(answered[int(0.99 * len(answered))], 3),
        "cancelled_at_the_model": at_work["cancelled"],
        "still_at_work": at_work["running"],
        "resident_mb": [round(seen.resident[0][1]), round(seen.resident[-1][1])],
        "slope_mb_a_minute": round(growth, 3),
        "spread_mb": round(spread, 3),
        "at_sigterm": dict(at_sigterm),
        "taken_at_sigterm": taken,
        "exit": code,
    }
    return {**told, "breaches": breaches(told)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    told = soaked(given.seconds, given.clients, given.seed)
    print(json.dumps(told, indent=2))
    sys.exit(bool(told["breaches"]))


if __name__ == "__main__":
    main()
