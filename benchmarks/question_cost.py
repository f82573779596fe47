"""What does a question cost by the agent, and by full resolution? `python benchmarks/question_cost.py [--questions 40]`

On the checkpoint that ships, for coarse questions (a glance is enough) and fine ones (it is not): seconds to the first
token, seconds to the answer, tokens sent, visual tokens. The two take turns on every question, so that a busy machine
slows both. Then the same questions with the KV cache kept between the turns, and thrown away.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agentic_vision import VisionAgent
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policy import Conversation, Reply
from agentic_vision.result import DoneEvent, TextEvent
from agentic_vision.rows import Row, read_rows
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa

FIELDS = ("first_token_s", "answer_s", "input_tokens", "visual_tokens")


class Forgetful(EmbeddedPolicy):
    """Throws the KV cache away before every turn."""

    async def stream(self, conversation: Conversation, *, seed: int | None = None) -> AsyncGenerator[str | Reply, None]:
        self.forget(conversation.id)
        async for piece in super().stream(conversation, seed=seed):
            yield piece


def measured(agent: VisionAgent, row: Row) -> dict[str, float]:
    """One question, timed."""
    started, first = time.perf_counter(), None
    for event in agent.stream(list(row.images), row.question, text=True):
        if isinstance(event, TextEvent) and first is None:
            first = time.perf_counter() - started
        if isinstance(event, DoneEvent):
            usage = event.result.usage
    whole = time.perf_counter() - started
    return dict(zip(FIELDS, (first or whole, whole, usage.input_tokens, usage.visual_tokens), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=40)
    questions = parser.parse_args().questions
    agents = {
        "agent": VisionAgent(EmbeddedPolicy.load()),
        "full": VisionAgent(EmbeddedPolicy.load(), tools=[], glance=1.0, max_turns=1),
        "agent, cache thrown away": VisionAgent(Forgetful.load()),
    }
    taken: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        write_pocket_vqa(Path(folder), questions, 5, "heldout")
        rows = read_rows(Path(folder))
        for agent in agents.values():
            measured(agent, rows[0])
        for row in rows:
            for name, agent in agents.items():
                taken[name, str(row.kind)].append(measured(agent, row))
    table = Table("", "kind", *FIELDS, title="medians; for each, the agent's over it")
    figures = {}
    for (name, kind), found in taken.items():
        medians = {field: statistics.median(one[field] for one in found) for field in FIELDS}
        own = {field: statistics.median(one[field] for one in taken["agent", kind]) for field in FIELDS}
        ratios = {field: own[field] / medians[field] for field in FIELDS}
        figures[f"{name}, {kind}"] = {"medians": medians, "agent_to_it": ratios}
        table.add_row(name, kind, *(f"{medians[field]:.4g} ({ratios[field]:.2f})" for field in FIELDS))
    Console(stderr=True).print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
