"""Questions with known answers, a JSON object a line: `data pocket` writes them, `eval` reads them.

`{"id", "images": [path], "question", "answer", "kind": "coarse"|"fine", "scene", "evidence": [x0, y0, x1,
y1], "sufficient": {"tool", "visual_tokens"}}`; what follows `answer` is optional: who needs it says so. So are
`answers`, where several are right, and `options`, where one is to be chosen. Data sets of other shapes: `loading`.
"""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from .errors import ConfigError, RowError
from .token_family import Corners
from .whole_text import whole

# Of images it is not asked: a file's name may hold what is no character.
Text = Annotated[str, BeforeValidator(lambda text: whole(text) if isinstance(text, str) else text)]


LETTERS = string.ascii_uppercase
"""Of the options, in their order."""


class Sufficient(BaseModel):
    """The cheapest way to the answer: `tool` is None where a glance is enough."""

    model_config = ConfigDict(frozen=True)

    tool: str | None = None
    visual_tokens: int | None = None


class Row(BaseModel):
    """One question.

    `answer`: the right one, or the one to show where several are. `answers`: all that are right, equal ones repeated
    where several people gave them. `options`: the texts to choose from, A first. `evidence`: the box, in pixels of
    the first image, that the answer is read from.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    id: Text
    images: tuple[str, ...] = Field(min_length=1)
    question: Text = Field(min_length=1)
    answer: Text
    answers: tuple[Text, ...] = ()
    options: tuple[Text, ...] = Field(default=(), max_length=len(LETTERS))
    kind: Literal["coarse", "fine"] | None = None
    scene: Text | None = None
    evidence: Corners | None = None
    sufficient: Sufficient | None = None

    @field_validator("answer")
    @classmethod
    def _said(cls, answer: str) -> str:
        if not answer.strip():
            raise ValueError("the answer is missing")
        return answer

    @field_validator("evidence")
    @classmethod
    def _not_empty(cls, evidence: Corners | None) -> Corners | None:
        if evidence and (evidence[0] >= evidence[2] or evidence[1] >= evidence[3]):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return evidence

    @property
    def references(self) -> tuple[str, ...]:
        """Every answer that is right; `answer` counts once where `answers` leaves it out."""
        return self.answers if self.answer in self.answers else (self.answer, *self.answers)

    @property
    def prompt(self) -> str:
        """The question as it is put to a model: its options follow, a line each, behind their letters."""
        lettered = (f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return "\n".join((self.question, *lettered))


class Fault(BaseModel):
    """A row that cannot be used. `line`: where it stands, from 1 (of a data set without lines: which row it is)."""

    model_config = ConfigDict(frozen=True)

    line: int
    id: Text | None
    reason: Text


def located(image: str, folder: str | os.PathLike[str]) -> str:
    """An image as a row names it, a path made relative to the `folder` of its file. URLs stay what they are."""
    return image if image[:5].lower() == "data:" or "://" in image[:8] else os.path.join(folder, image)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a JSONL file, or of `rows.jsonl` in a folder; image paths are relative to that file.

    Raises `RowError`, with the line's number, for a line that is no row, that has no answer, or whose id comes twice;
    `ConfigError` for a file that cannot be read and for no rows.
    """
    path = Path(path) / "rows.jsonl" if os.path.isdir(path) else Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path} ({error.strerror}): give a JSONL file, such as `agentic-vision data pocket` writes"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text: give a JSONL file (for PocketVQA: --format jsonl)") from error
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = Row.model_validate_json(line)
        except ValidationError as error:
            raise RowError(
                f"{path}, line {number}, is no row ({complaint(error)}): a row needs id, images, question and answer"
            ) from error
        if row.id in rows:
            raise RowError(f"{path}, line {number}: the id {row.id!r} comes twice: make ids unique")
        images = tuple(located(image, path.parent) for image in row.images)
        rows[row.id] = row.model_copy(update={"images": images})
    if not rows:
        raise ConfigError(f"{path} holds no rows: give a JSONL file with a question a line")
    return list(rows.values())


def complaint(error: ValidationError) -> str:
    """What the first thing wrong with a row is, and where in it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    return f"{where}: {first['msg'].lower()}"
