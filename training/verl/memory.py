"""What rewards have learnt, kept a step, so that a run that is resumed goes on with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agentic_vision.whole_file import Lines, write_whole

from ..rewards.reward import Part


class Memory:
    """The memories of `parts` in the JSON-lines file `path`: a line a step."""

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self._path = path
        self._parts = [part for part in dict.fromkeys(parts) if part.memory() is not None]

    def restore(self, before: int) -> None:
        """Takes up what was known when step `before` began; the beginning where nothing is noted.

        What was noted of later steps goes, for they are done again; so does a line that a kill cut short.
        """
        if not self._parts or not self._path.exists():
            return
        lines = [line for line in self._path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        kept = [line for line in lines if json.loads(line)["step"] < before]
        write_whole(self._path, b"".join(kept))
        if kept:
            for part, memory in zip(self._parts, json.loads(kept[-1])["memories"], strict=True):
                part.remember(memory)

    def note(self, step: int) -> None:
        """Writes down what is known after `step`."""
        if self._parts:
            line = json.dumps({"step": step, "memories": [part.memory() for part in self._parts]})
            with closing(Lines(self._path)) as out:
                out.add(line.encode() + b"\n")
