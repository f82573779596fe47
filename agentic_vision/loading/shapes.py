"""What does a data set call its columns? Those of the field's benchmarks, by their names, as rows.

Read off the data of lmms-eval's tasks (TextVQA, DocVQA, ChartQA, MMBench, MMMU, RealWorldQA, V*, ScienceQA, HR-Bench).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import RowError
from ..rows import LETTERS, Row
from .images import Images


@dataclass(frozen=True)
class Columns:
    """What a data set calls its columns; None: by the names in `ALIASES`.

    `answers`: several that are right. `options`: a list of texts; without one, the columns A, B, C ... are taken.
    `hint`: text that goes before the question.
    """

    images: str | None = None
    question: str | None = None
    answer: str | None = None
    answers: str | None = None
    options: str | None = None
    id: str | None = None
    hint: str | None = None


ALIASES = {
    "images": ("images", "decoded_image", "image", "file_names", "file_name", "image_path"),
    "question": ("question", "query", "problem", "text"),
    "answer": ("answer", "solution", "multiple_choice_answer", "label"),
    "answers": ("answers",),
    "options": ("options", "choices"),
    "id": ("id", "question_id", "questionId", "index", "pid", "qid"),
    "hint": ("hint",),
}
"""Tried in this order; a column that is empty in a row is passed over there."""
OURS = ("kind", "scene", "evidence", "sufficient")

_LETTERED = re.compile(r"\s*[(\[]?([A-Z])[)\].:]\s*(?=\S)")


def as_row(said: Mapping[str, Any], number: int, columns: Columns, images: Images) -> Row:
    """The row that a record says. `number` is its id where it has none.

    Raises `RowError` for what is missing, `ValidationError` for what is no row otherwise.
    """
    found = {field.name: _value(said, field.name, getattr(columns, field.name)) for field in fields(columns)}
    given = found["images"]
    if given is None and columns.images is None:  # MMMU's image_1, image_2 ...
        given = [said[name] for name in sorted(said, key=_numbered) if _numbered(name) and said[name] is not None]
    pictures = [image for image in (given if isinstance(given, list) else [given]) if not _empty(image)]
    for name, there in (("images", pictures), ("question", found["question"])):
        if not there:
            raise _missing(said, name, getattr(columns, name))
    options = _options(said, found["options"], columns)
    answer, answers = _answers(found["answer"], found["answers"], options)
    if answer is None:
        raise _missing(said, "answer", columns.answer)
    question = str(found["question"])
    return Row(
        id=str(number if found["id"] is None else found["id"]),
        images=tuple(images.path(image) for image in pictures),
        question=f"{found['hint']}\n{question}" if found["hint"] else question,
        answer=answer,
        answers=answers,
        options=options,
        **{name: said[name] for name in OURS if said.get(name) is not None},
    )


def id_of(said: Mapping[str, Any], columns: Columns) -> str | None:
    """The id that a record gives itself."""
    id = _value(said, "id", columns.id)
    return None if id is None else str(id)


def _value(said: Mapping[str, Any], name: str, asked: str | None) -> Any:
    values = (said.get(column) for column in ((asked,) if asked else ALIASES[name]))
    return next((value for value in values if not _empty(value)), None)


def _empty(value: Any) -> bool:
    """Whether nothing is said: pandas writes NaN for it, and some data sets its name."""
    if isinstance(value, str):
        return not value.strip() or value.strip().lower() == "nan"
    return value is None or value == [] or (isinstance(value, float) and math.isnan(value))


def _missing(said: Mapping[str, Any], name: str, asked: str | None) -> RowError:
    column = asked or name
    known = (column,) if asked else ALIASES[name]
    if any(alias in said for alias in known):
        return RowError(f"the {name} is missing" if name != "images" else "the row has no image")
    return RowError(f"there is no column {column!r} for the {name}, but {', '.join(map(str, said))}: name it")


def _numbered(column: str) -> int:
    match = re.fullmatch(r"image_(\d+)", column)
    return int(match[1]) if match else 0


def _options(said: Mapping[str, Any], given: Any, columns: Columns) -> tuple[str, ...]:
    if isinstance(given, str):  # MMMU's lists are texts
        try:
            given = ast.literal_eval(given)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise RowError(f"the options are the text {given[:40]!r}: give a list") from None
    if given is None and columns.options is None and all(letter in said for letter in "AB"):
        given = []
        for letter in LETTERS:
            if _empty(said.get(letter)):
                break
            given.append(said[letter])
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        if given is None:
            return ()
        raise RowError(f"the options are {type(given).__name__}: give a list")
    texts = [str(option) for option in given]
    if len(texts) > len(LETTERS):
        raise RowError(f"there are {len(texts)} options: letters go as far as Z, which is {len(LETTERS)}")
    marks = [_LETTERED.match(text) for text in texts]
    if texts and all(mark and mark[1] == letter for mark, letter in zip(marks, LETTERS, strict=False)):
        texts = [text[mark.end() :] for text, mark in zip(texts, marks, strict=True) if mark]
    return tuple(texts)


def _answers(one: Any, several: Any, options: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """The answer to show, and all that are right where there are several."""
    if isinstance(one, list):  # ChartQA's label
        one, several = None, several or one
    listed = several if isinstance(several, list) else [several]
    # VQAv2 says of each who gave it.
    texts = [given.get("answer") if isinstance(given, Mapping) else given for given in listed]
    answers = [_text(text, options) for text in texts if not _empty(text)]
    answer = _text(one, options) if one is not None else (answers[0] if answers else None)
    return answer, tuple(answers) if answers and answers != [answer] else ()


def _text(answer: Any, options: tuple[str, ...]) -> str:
    """ScienceQA's answers count the options from 0."""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return LETTERS[answer]
    return str(answer)
