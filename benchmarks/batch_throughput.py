"""How near does a batch come to what its endpoint allows? `python benchmarks/batch_throughput.py [--rows N]`

The endpoint is a stand-in in a process of its own that answers after a drawn latency; images are tiny. Two figures:
questions a second with 256 in flight, over 256 / the mean latency, and the processor's time a question; and the most
memory that 100,000 rows take, with hardly any latency, and its growth. On a busy machine, give a longer latency: what
counts is whether the processor keeps up, and it says what it had to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.batch.pace import Pace
from agentic_vision.batch.run import run_batch
from agentic_vision.batch.tally import Tally
from agentic_vision.policies.openai import OpenAIPolicy

IN_FLIGHT = 256
ANSWER = "<think>I see it.</think><answer>417</answer>"


def serve(port: Any, low: float, high: float) -> None:
    """A stand-in: the answer after `low` to `high` seconds."""
    import uvicorn

    reply = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9}
    said = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [reply], "usage": usage}
    body = json.dumps(said).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(random.uniform(low, high))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    listening = config.bind_socket()
    port.put(listening.getsockname()[1])
    uvicorn.Server(config).run([listening])


@contextmanager
def endpoint(low: float, high: float) -> Iterator[str]:
    """Its address, while the block runs."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=serve, args=(port, low, high), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get()}/v1"
    finally:
        process.terminate()


def measured(folder: Path, rows: int, low: float, high: float) -> dict[str, Any]:
    """Ask `rows` questions of tiny images."""
    for number in range(100):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            row = {"id": f"row-{number}", "images": [f"{number % 100}.png"], "question": f"What is number {number}?"}
            file.write(json.dumps(row) + "\n")
    growth: list[int] = []

    def watch(tally: Tally, _: Pace) -> None:
        if tally.asked >= len(growth) * rows / 10:
            growth.append(most_rss_mb())

    with endpoint(low, high) as url:
        policy = OpenAIPolicy("m", base_url=url, api_key="k", profile={"family": "qwen3-vl", "calls": "text"})
        agent, out = VisionAgent(policy), folder / f"answers-{rows}-{high}.jsonl"
        wall, processor = time.perf_counter(), time.process_time()
        tally = run_batch(folder, out, agent, concurrency=IN_FLIGHT, watch=watch)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    assert tally.stop_reasons == {"answered": rows}, tally
    ideal = rows / IN_FLIGHT * (low + high) / 2
    return {
        "rows": rows,
        "mean_latency_s": (low + high) / 2,
        "questions_a_second": round(rows / wall, 1),
        "of_the_ideal": round(ideal / wall, 3),
        "processor_ms_a_question": round(1000 * processor / rows, 2),
        "most_rss_mb": growth,
    }


def most_rss_mb() -> int:
    """Of this process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of the memory's figure")
    parser.add_argument("--rounds", type=int, default=20, help="times 256 rows, of the throughput's figure")
    parser.add_argument("--latency", type=float, default=8.0, help="mean seconds, of the throughput's figure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        low, high = 0.5 * given.latency, 1.5 * given.latency
        print(json.dumps({"throughput": measured(Path(folder), given.rounds * IN_FLIGHT, low, high)}))
        sys.stdout.flush()
        print(json.dumps({"memory": measured(Path(folder), given.rows, 0.0, 0.002)}))


if __name__ == "__main__":
    main()
