"""A data set of one's own as rows: JSONL, parquet, or a folder that `datasets` saved.

A row needs images, a question and an answer, under the names of `Columns`. Images are paths (relative to the file),
bytes, or what `datasets` makes of either; those that are no files yet are written into a folder of ours.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentic_vision.errors import ConfigError
from agentic_vision.rows import Row


@dataclass(frozen=True)
class Columns:
    """What a data set calls the columns that are needed."""

    images: str = "images"
    question: str = "question"
    answer: str = "answer"


ALIASES = {
    "images": ("images", "image"),
    "question": ("question", "query", "problem"),
    "answer": ("answer", "solution"),
}
"""Where a data set has no column of the asked name, these are tried in order."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its number from 1, and why."""

    number: int
    why: str


def read_any(path: Path, images: Path, columns: Columns = Columns()) -> Iterator[Row | BadRow]:
    """The rows of `path`, one by one. Images that are bytes are written to the folder `images`.

    Raises `ConfigError` where `path` is no data set, or lacks a column.
    """
    if (path / "rows.jsonl").is_file():
        path = path / "rows.jsonl"
    names: dict[str, str] = {}
    empty = True
    for number, said in enumerate(_records(path), 1):
        empty = False
        if isinstance(said, BadRow):
            yield said
            continue
        if not names:
            names = _named(said, columns, path)
        try:
            yield _row(said, number, names, path, images)
        except (ValidationError, ConfigError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            why = f"{first['loc'][0]}: {first['msg'].lower()}" if first and first["loc"] else str(error)
            yield BadRow(number, why)
    if empty:
        raise ConfigError(f"{path} holds no rows")


def _records(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    try:
        if path.is_dir():
            yield from _saved_dataset(path)
        elif path.suffix == ".parquet":
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=64):
                yield from batch.to_pylist()
        else:
            yield from _json_lines(path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"cannot read {path} ({error}): give JSONL, parquet, or a folder that datasets saved"
        ) from error


def _json_lines(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
            except json.JSONDecodeError as error:
                yield BadRow(number, f"no JSON: {error.msg}")
                continue
            yield said if isinstance(said, dict) else BadRow(number, "no JSON object")


def _saved_dataset(path: Path) -> Iterator[dict[str, Any]]:
    from datasets import Dataset, Image, Sequence, load_from_disk

    saved = load_from_disk(str(path))
    if not isinstance(saved, Dataset):
        raise ValueError(f"it has several splits: give the folder of one, such as {path / next(iter(saved))}")
    for name, feature in saved.features.items():  # bytes as they were: decoding is for those who look
        if isinstance(feature, Image):
            saved = saved.cast_column(name, Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), Image):
            saved = saved.cast_column(name, Sequence(Image(decode=False)))
    yield from saved


def _named(said: Mapping[str, Any], columns: Columns, path: Path) -> dict[str, str]:
    found = {}
    for name in ("images", "question", "answer"):
        asked = getattr(columns, name)
        tried = (asked,) if asked != name else ALIASES[name]
        chosen = next((column for column in tried if column in said), None)
        if chosen is None:
            raise ConfigError(f"{path} has no column {asked!r} for the {name}, but {', '.join(said)}: name it")
        found[name] = chosen
    return found


def _row(said: Mapping[str, Any], number: int, names: Mapping[str, str], path: Path, images: Path) -> Row:
    given = said[names["images"]]
    several = given if isinstance(given, list | tuple) else [given]
    known = {name: said[name] for name in ("kind", "scene", "evidence", "sufficient") if said.get(name) is not None}
    answer = said[names["answer"]]
    if answer is None or not str(answer).strip():
        raise ConfigError("the answer is missing")
    return Row(
        id=str(said.get("id", number)),
        images=tuple(_image(image, path, images) for image in several if image is not None),
        question=str(said[names["question"]] or ""),
        answer=answer,
        **known,
    )


def _image(image: Any, path: Path, folder: Path) -> str:
    if isinstance(image, Mapping):  # as datasets and verl hold them
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str):
        return image if os.path.isabs(image) else str(path.parent.absolute() / image)
    if isinstance(image, bytes | bytearray):
        return str(_stored(bytes(image), folder))
    if hasattr(image, "save"):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        return str(_stored(buffer.getvalue(), folder))
    raise ConfigError(f"an image is a {type(image).__name__}: give paths or bytes")


def _stored(data: bytes, folder: Path) -> Path:
    """The file that holds `data`; equal images are stored once."""
    path = (folder / hashlib.sha256(data).hexdigest()[:24]).absolute()
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path


def only_good(rows: Iterable[Row | BadRow]) -> list[Row]:
    """The rows, without the bad ones."""
    return [row for row in rows if isinstance(row, Row)]
