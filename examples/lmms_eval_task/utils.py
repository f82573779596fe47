"""What lmms-eval cannot read from the columns of a row: its images, and whether an answer is right.

For rows of your own, change `ROWS` here and `data_files` in the YAML, and `accuracy` where other words are right too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from agentic_vision.matching import normalised

ROWS = Path("pocket")  # the folder of rows.jsonl, to which the paths of images are relative


def images(row: dict[str, Any]) -> list[Image.Image]:
    """The images of a row, in their order."""
    return [Image.open(ROWS / path).convert("RGB") for path in row["images"]]


def accuracy(row: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """1 where the answer is the reference, but for how it is written: as in `agentic-vision eval`."""
    return {"accuracy": float(normalised(answers[0]) == normalised(row["answer"]))}
