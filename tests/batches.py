"""What the tests of batches share: rows in a file, and an agent behind a real HTTP endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.protocol import write

TEXT = {"family": "qwen3-vl", "calls": "text"}
ANSWER = write(thought="I see it.", answer="417")


def agent(url: str, **options: Any) -> VisionAgent:
    policy = OpenAIPolicy("m", base_url=url, api_key="k", profile=TEXT, **{"patience": 0.0, **options})
    return VisionAgent(policy, max_turns=2)


def rows(folder: Path, count: int, **first: Any) -> Path:
    """`count` rows with ids of their own; `first` changes the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (512, 512), "white").save(folder / "picture.png")
    written: list[dict[str, Any]] = [
        {"id": f"row-{number}", "images": ["picture.png"], "question": f"What is number {number}?"}
        for number in range(count)
    ]
    written[0].update(first)
    return lines_to(folder / "rows.jsonl", written)


def lines_to(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(request: dict[str, Any]) -> str:
    """The question that a chat request is about."""
    user = next(message for message in request["messages"] if message["role"] == "user")
    return str(user["content"][-1]["text"])
