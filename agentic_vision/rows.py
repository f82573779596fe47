"""Questions with known answers, a JSON object a line: `data pocket` writes them, `eval` reads them.

`{"id", "images": [path], "question", "answer", "kind": "coarse"|"fine", "scene", "evidence": [x0, y0, x1,
y1], "sufficient": {"tool", "visual_tokens"}}`; what follows `answer` is optional: who needs it says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import ConfigError
from .view import Corners


class Sufficient(BaseModel):
    """The cheapest way to the answer: `tool` is None where a glance is enough."""

    model_config = ConfigDict(frozen=True)

    tool: str | None = None
    visual_tokens: int | None = None


class Row(BaseModel):
    """One question. `evidence`: the box, in pixels of the first image, that the answer is read from."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    id: str
    images: tuple[str, ...] = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: str
    kind: Literal["coarse", "fine"] | None = None
    scene: str | None = None
    evidence: Corners | None = None
    sufficient: Sufficient | None = None

    @field_validator("evidence")
    @classmethod
    def _not_empty(cls, evidence: Corners | None) -> Corners | None:
        if evidence and (evidence[0] >= evidence[2] or evidence[1] >= evidence[3]):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return evidence


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a JSONL file, or of `rows.jsonl` in a folder; image paths are relative to that file.

    Raises `ConfigError`, with the line's number, where a line is no row or an id comes twice, and for no
    rows.
    """
    path = Path(path) / "rows.jsonl" if os.path.isdir(path) else Path(path)
    rows: list[Row] = []
    seen: set[str] = set()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path} ({error.strerror}): give a JSONL file, such as `agentic-vision data pocket` writes"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text: give a JSONL file (for PocketVQA: --format jsonl)") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = Row.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise ConfigError(
                f"{path}, line {number}, is no row ({where}: {first['msg'].lower()}): "
                "a row needs id, images, question and answer"
            ) from error
        if row.id in seen:
            raise ConfigError(f"{path}, line {number}: the id {row.id!r} comes twice: make ids unique")
        seen.add(row.id)
        rows.append(row.model_copy(update={"images": tuple(str(path.parent / image) for image in row.images)}))
    if not rows:
        raise ConfigError(f"{path} holds no rows: give a JSONL file with a question a line")
    return rows
