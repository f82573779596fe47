"""Maps a Ray Data dataset through the agent: a pool of actors, each with its policy, on one machine or on many.

python examples/batch_on_ray.py [--actors N] [--gpus-each G] [--policy NAME] [--base-url URL]

Without arguments: the embedded checkpoint, on one CPU actor. `--gpus-each 1` puts an actor with local weights on every
GPU. With `--base-url` the actors wait for an endpoint: a few of them, with `--at-once` questions each, keep it busy.
It needs Ray: pip install 'ray[data]'. On a cluster, set RAY_ADDRESS.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import ray
import ray.data

RECEIPT = Path(__file__).with_name("receipt.png").absolute()
QUESTIONS = ("What is the total?", "What color is the logo?")


class Asker:
    """An actor of the pool. The policy is loaded where it is used, once an actor."""

    def __init__(self, policy: str | None, base_url: str | None, at_once: int) -> None:
        from agentic_vision import VisionAgent

        self.agent = VisionAgent(policy, base_url=base_url)
        self.at_once = at_once

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Columns `image` (a path, or a file's bytes) and `question` in; what came of them beside them out."""
        pairs = list(zip(rows["image"].tolist(), rows["question"].tolist(), strict=True))
        results = self.agent.batch(pairs, concurrency=self.at_once)
        return {
            **rows,
            "answer": [result.answer for result in results],
            "stop_reason": [result.stop_reason.value for result in results],
            "detail": [result.trajectory.detail for result in results],
            "visual_tokens": [result.usage.visual_tokens for result in results],
            "full_resolution_tokens": [result.usage.full_resolution_tokens for result in results],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--gpus-each", type=float, default=0)
    parser.add_argument("--policy")
    parser.add_argument("--base-url")
    parser.add_argument("--at-once", type=int, default=16)
    given = parser.parse_args()

    ray.init(os.environ.get("RAY_ADDRESS", "local"), include_dashboard=False, log_to_driver=False)
    rows = ray.data.from_items([{"image": str(RECEIPT), "question": question} for question in QUESTIONS])
    answered = rows.map_batches(
        Asker,
        fn_constructor_args=(given.policy, given.base_url, given.at_once),
        batch_size=given.at_once,
        compute=ray.data.ActorPoolStrategy(size=given.actors),
        num_gpus=given.gpus_each or None,
        max_concurrency=1,
    )
    for row in answered.take_all():  # or answered.write_parquet("answers")
        print(row["question"], row["answer"] or row["stop_reason"])
    ray.shutdown()


if __name__ == "__main__":
    main()
