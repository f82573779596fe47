"""What rewards have learnt, kept a step, so that a run that is resumed goes on with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..rewards.reward import Part


class Memory:
    """The memories of `parts` in the JSON-lines file `path`: a line a step."""

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self._path = path
        self._parts = [part for part in dict.fromkeys(parts) if part.memory() is not None]

    def restore(self, before: int) -> None:
        """Takes up what was known when step `before` began; the beginning where nothing is noted."""
        if not self._parts or not self._path.exists():
            return
        lines = self._path.read_bytes().split(b"\n")[:-1]  # a kill may have cut the last one short
        noted = [line for line in map(json.loads, lines) if line["step"] < before]
        if noted:
            for part, memory in zip(self._parts, noted[-1]["memories"], strict=True):
                part.remember(memory)

    def note(self, step: int) -> None:
        """Writes down what is known after `step`."""
        if self._parts:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"step": step, "memories": [part.memory() for part in self._parts]}) + "\n")
