"""What the tests of evaluations share: ten questions, and a policy that reads only what it was shown."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, PromptStyle
from agentic_vision.protocol import write
from agentic_vision.rows import Row, read_rows
from agentic_vision.view import Box

SIZE = (192, 160)
EVIDENCE = (100.0, 100.0, 130.0, 112.0)


def ten_rows(folder: Path) -> list[Row]:
    """Ten questions, each with a picture of its own: even ones coarse, odd ones fine; from `folder`/rows.jsonl."""
    lines = []
    for number in range(10):
        Image.new("RGB", SIZE, (number, 0, 0)).save(folder / f"{number}.png")
        fine = number % 2 == 1
        row = {
            "id": f"row-{number}",
            "images": [f"{number}.png"],
            "question": f"Question {number}?",
            "answer": f"{number}",
            "kind": "fine" if fine else "coarse",
            "scene": "cards",
            "evidence": EVIDENCE,
            "sufficient": {"tool": "zoom_crop" if fine else None, "visual_tokens": 40},
        }
        lines.append(json.dumps(row))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return read_rows(folder / "rows.jsonl")


def honest(conversation: Conversation) -> str:
    """Answers coarse questions at once; fine ones only after a view that shows the evidence at full detail.

    Decides by itself to look closer on every fine question but number 1, where it guesses.
    """
    asked = next(message for message in conversation.messages if message.role == "user")
    number = int(asked.text.split()[1].rstrip("?"))
    evidence = Box.of(EVIDENCE)
    views = [image.view for image in conversation.images]
    if number % 2 == 0 or any(view.detail >= 1 and view.box.contains(evidence) for view in views):
        return write(thought="I can see it.", answer=str(number))
    if conversation.tools and number != 1:
        return write(thought="Too small.", calls=[("zoom_crop", {"bbox_2d": [500, 600, 700, 720]})])
    return write(answer="no idea")


def policy() -> ScriptedPolicy:
    return ScriptedPolicy(honest, family="pocket", style=PromptStyle.COMPACT)


def logged(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "trajectories.jsonl").read_text().splitlines()]
