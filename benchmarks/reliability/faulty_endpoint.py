"""Is anything lost or wrong where 30 % of requests fail? `python benchmarks/reliability/faulty_endpoint.py [--rows N]`

A batch and a judge ask an endpoint that resets, refuses, drips, cuts, garbles and hangs (`faults.py`), and the same one
without its faults. Every row must be answered or failed by its type exactly once, with its own answer, for at most 1.6
times the requests; a question without a verdict must have none, and no other may be wrong; and the same again, asked of
what has failed, must come to the end that an endpoint without faults comes to. Ends with 1 where it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import endpoint, met, told
from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.batch.run import run_batch
from agentic_vision.judge import Judge
from agentic_vision.policies.openai import OpenAIPolicy

MOST = 1.6
"""Times the requests of an endpoint without faults."""
AGAIN = 8
"""Runs after the first, in which all must be answered."""


@dataclass
class Found:
    """How one kind of work came out. `breaches` is empty where nothing was lost or wrong."""

    name: str
    asked: int
    answered: int
    failed: int
    requests: int
    plain: int
    runs: int
    seconds: float
    met: Counter[str]
    breaches: list[str]

    @property
    def ratio(self) -> float:
        return self.requests / self.plain


def batch(
    folder: Path, rows: int, share: float, seed: int, timeout: float, concurrency: int, again: int = AGAIN
) -> Found:
    """Ask `rows` questions, then those again that have failed, until none has."""
    Image.new("RGB", (64, 64), "white").save(folder / "picture.png")
    nonces = {f"row-{number}": f"{number * 2654435761 + seed:012x}" for number in range(rows)}
    with (folder / "rows.jsonl").open("w") as file:
        for id, nonce in nonces.items():
            row = {"id": id, "images": ["picture.png"], "question": f"Which word belongs to nonce {nonce}?"}
            file.write(json.dumps(row) + "\n")

    def ask(url: str, out: Path) -> list[dict[str, Any]]:
        policy = OpenAIPolicy(
            "m",
            base_url=url,
            api_key="k",
            profile={"family": "qwen3-vl", "calls": "text"},
            timeout=timeout,
            patience=120,
        )
        run_batch(folder, out, VisionAgent(policy), concurrency=concurrency)
        return [json.loads(line) for line in out.read_text().splitlines()]

    def checked(lines: list[dict[str, Any]]) -> list[str]:
        wrong = [line["id"] for line in lines if line["answer"] not in (None, told(nonces[line["id"]]))]
        reasons = {line["stop_reason"] for line in lines} - {"answered", "policy_failed"}
        silent = [line["id"] for line in lines if (line["answer"] is None) != bool(line["detail"])]
        return [
            *([f"{len(wrong)} crossed answers, such as {wrong[0]}'s"] if wrong else []),
            *(
                [f"{rows} rows have {len(lines)} lines"]
                if sorted(line["id"] for line in lines) != sorted(nonces)
                else []
            ),
            *([f"stop reasons that no fault explains: {reasons}"] if reasons else []),
            *([f"{len(silent)} rows neither answered nor failed with a reason"] if silent else []),
        ]

    with endpoint(0.0, seed) as url:
        breaches = checked(ask(url, folder / "plain.jsonl"))
        plain = met(url).total()
    with endpoint(share, seed) as url:
        started = time.perf_counter()
        lines = ask(url, folder / "out.jsonl")
        seconds, requests = time.perf_counter() - started, met(url)
        breaches += checked(lines)
        failed = sum(line["answer"] is None for line in lines)
        runs, left = 1, failed
        while left and runs <= again:
            lines = ask(url, folder / "out.jsonl")
            breaches += checked(lines)
            runs, left = runs + 1, sum(line["answer"] is None for line in lines)
    if left and again:
        breaches.append(f"{left} rows have no answer after {runs} runs")
    return _within(
        Found("batch", rows, rows - failed, failed, requests.total(), plain, runs, seconds, requests, breaches)
    )


def judged(
    folder: Path, questions: int, share: float, seed: int, timeout: float, concurrency: int, again: int = AGAIN
) -> Found:
    """Judge `questions` answers of which every other is right, then those again that have no verdict."""
    asked = [
        (f"Which word belongs to nonce {number * 2654435761 + seed:012x}?", f"{number}", f"{number + number % 2}")
        for number in range(questions)
    ]

    async def ask(url: str, cache: str) -> list[bool | None]:
        settings = {"timeout": timeout, "patience": 120, "concurrency": concurrency, "cache": folder / cache}
        async with Judge("m", base_url=url, api_key="k", **settings) as judge:  # type: ignore[arg-type]
            found = await asyncio.gather(*(judge.verdict(*one) for one in asked))
        return [one.correct for one in found]

    def checked(verdicts: list[bool | None]) -> list[str]:
        wrong = [number for number, said in enumerate(verdicts) if said not in (None, number % 2 == 0)]
        return [f"{len(wrong)} wrong verdicts, such as question {wrong[0]}'s"] if wrong else []

    with endpoint(0.0, seed) as url:
        breaches = checked(asyncio.run(ask(url, "plain.sqlite")))
        plain = met(url).total()
    with endpoint(share, seed) as url:
        started = time.perf_counter()
        verdicts = asyncio.run(ask(url, "out.sqlite"))
        seconds, requests = time.perf_counter() - started, met(url)
        breaches += checked(verdicts)
        failed = verdicts.count(None)
        runs, left = 1, failed
        while left and runs <= again:
            verdicts = asyncio.run(ask(url, "out.sqlite"))
            breaches += checked(verdicts)
            runs, left = runs + 1, verdicts.count(None)
    if left and again:
        breaches.append(f"{left} questions have no verdict after {runs} runs")
    return _within(
        Found(
            "judge", questions, questions - failed, failed, requests.total(), plain, runs, seconds, requests, breaches
        )
    )


def _within(found: Found) -> Found:
    if found.ratio > MOST:
        found.breaches.append(f"{found.ratio:.2f} times the requests of an endpoint without faults, more than {MOST}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000, help="of the batch")
    parser.add_argument("--questions", type=int, default=2000, help="of the judge")
    parser.add_argument("--share", type=float, default=0.3, help="of the requests that fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds a request: what ends a hang and a drip")
    parser.add_argument("--concurrency", type=int, default=24)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "batch").mkdir()
        how = (given.share, given.seed, given.timeout, given.concurrency)
        found = [batch(Path(folder) / "batch", given.rows, *how), judged(Path(folder), given.questions, *how)]
    print(
        "| work | asked | answered at once | failed by type | requests | without faults | ratio | runs to the end | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in found:
        print(
            f"| {one.name} | {one.asked:,} | {one.answered:,} | {one.failed:,} | {one.requests:,} | {one.plain:,} "
            f"| {one.ratio:.2f} | {one.runs} | {one.seconds:.0f} |"
        )
    for one in found:
        print(f"{one.name}, what its requests met: " + ", ".join(f"{n:,} {kind}" for kind, n in one.met.most_common()))
        for breach in one.breaches:
            print(f"BREACH in {one.name}: {breach}")
    return int(any(one.breaches for one in found))


if __name__ == "__main__":
    sys.exit(main())
