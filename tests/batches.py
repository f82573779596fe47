"""What the tests of batches share: rows in a file, an agent that answers, one behind a real HTTP endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from endpoint_agent import policy
from PIL import Image
from scripted_agent import ANSWER

from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy

CAN = VisionAgent(ScriptedPolicy([ANSWER]))


def agent(url: str, **options: Any) -> VisionAgent:
    return VisionAgent(policy(url, **options), max_turns=2)


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


def ids(path: Path) -> list[str]:
    return sorted(line["id"] for line in lines(path))


def asked(request: dict[str, Any]) -> str:
    """The question that a chat request is about."""
    user = next(message for message in request["messages"] if message["role"] == "user")
    return str(user["content"][-1]["text"])
