"""How is a peer measured? Both ways in turn, medians, and one JSON object that run.py makes a table of.

Every `against_NAME.py` is a program, whose command line is `main`: it prints its JSON, and `--tiny` shrinks the work
until it only shows that the measurement runs.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import inspect
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

OURS = ("agentic-vision", "langgraph", "langchain-core", "openai", "pillow", "pydantic", "torch", "transformers")
"""Whose versions are told beside the peer's, where they are installed."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison. Less is better, whatever the `unit`; `note` is what the reader must know of it."""

    work: str
    unit: str
    ours: float
    theirs: float
    note: str = ""


@dataclasses.dataclass
class Measured:
    """What a measuring program found: rows, and facts that are no figures."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    facts: list[str] = dataclasses.field(default_factory=list)


Way = Callable[[], Awaitable[object] | object]


async def alternating(ours: Way, theirs: Way, repeats: int) -> tuple[float, float]:
    """Median milliseconds of processor time of either way, taken in turn, after one unmeasured run of each.

    Processor time, of all threads, because a machine is never quite idle.
    """
    taken: dict[Way, list[float]] = {ours: [], theirs: []}
    for number in range(-1, repeats):
        for way in (ours, theirs) if number % 2 else (theirs, ours):
            started = time.process_time()
            result = way()
            if inspect.isawaitable(result):
                await result
            if number >= 0:
                taken[way].append(1000 * (time.process_time() - started))
    return statistics.median(taken[ours]), statistics.median(taken[theirs])


def versions(peer: str) -> dict[str, str]:
    """The installed versions of the peer, of ours and of what ours stands on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (peer, *OURS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(peer: str, measure: Callable[[bool], Measured | Awaitable[Measured]]) -> None:
    """The command line of a measuring program; `measure` is told whether the work is to be tiny."""
    parser = argparse.ArgumentParser(description=f"agentic-vision and {peer} on the same work; prints JSON")
    parser.add_argument("--tiny", action="store_true", help="only show that it runs")
    parser.add_argument("--out", type=Path, help="write the JSON to this file instead")
    options = parser.parse_args()

    async def measured() -> Measured:
        found: Any = measure(options.tiny)
        result: Measured = await found if inspect.isawaitable(found) else found
        return result

    text = json.dumps({"versions": versions(peer), **dataclasses.asdict(asyncio.run(measured()))}, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
