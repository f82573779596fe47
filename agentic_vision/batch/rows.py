"""Which questions does a batch ask? Rows of JSONL or parquet, or one question of every image in a folder.

`{"id"?, "images": [path] or "image": path, "question"}`: paths are relative to the file's folder, URLs are fetched;
parquet may hold the images' bytes as well, as `datasets` writes them. Rows are read one by one, and again from the
start by whoever iterates again. A row that cannot be asked is a row all the same, which says why.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..rows import located
from ..whole_text import whole

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".ico", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip
"""What counts as an image in a folder."""
COLUMNS = ("id", "images", "image", "question")
BUFFER = 2**20  # bytes; without it pyarrow holds a whole row group's images at once


@dataclass(frozen=True)
class BatchRow:
    """One question. `digest` tells what is asked, whatever the `id`; `problem` why it cannot be asked."""

    id: str
    images: tuple[str | bytes, ...]
    question: str
    digest: str
    problem: str | None = None


class Rows:
    """The rows of `path`. Raises `ConfigError` where there are none, when it is made or when they are read."""

    def __init__(self, path: str | os.PathLike[str], question: str | None = None) -> None:
        """`question`: asked of every image, where `path` is a folder of them."""
        path = Path(path)
        if path.is_dir() and question is None:
            if not (path / "rows.jsonl").is_file():
                raise ConfigError(f"{path} is a folder: give the question to ask of its images (--question)")
            path = path / "rows.jsonl"
        if not path.is_dir() and question is not None:
            raise ConfigError(f"{path} is no folder of images: put the question into its rows, and give none beside it")
        if not path.is_dir() and not path.is_file():
            raise ConfigError(f"there is no file {path}: give JSONL, parquet, or a folder of images")
        if question is not None and not question.strip():
            raise ConfigError("the question is empty: ask something about the images")
        self.path, self.question = path, question

    def __iter__(self) -> Iterator[BatchRow]:
        if self.question is not None:
            return self._some(self._pictures(self.question))
        return self._some(self._parquet() if self.path.suffix == ".parquet" else self._json_lines())

    def _some(self, rows: Iterator[BatchRow]) -> Iterator[BatchRow]:
        empty = True
        for row in rows:
            empty = False
            yield row
        if empty:
            raise ConfigError(f"{self.path} holds no {'images' if self.question else 'rows'}: give others")

    def _pictures(self, question: str) -> Iterator[BatchRow]:
        for root, folders, files in os.walk(self.path):
            folders.sort()
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    image = os.path.join(root, name)
                    id = Path(image).relative_to(self.path).as_posix()
                    yield BatchRow(_storable_id(id), (image,), whole(question), _digest([id], question))

    def _json_lines(self) -> Iterator[BatchRow]:
        wrong, good = None, False
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError("it is no JSON object")
                    row = self._row(record, number)
                except (ValueError, RecursionError) as error:
                    wrong = wrong or f"line {number}: {error}"
                    digest = hashlib.sha256(line).hexdigest()[:24]
                    yield BatchRow(f"{number}-{digest[:12]}", (), "", digest, f"line {number} is no row: {error}")
                    continue
                good = True
                yield row
        if wrong and not good:
            raise ConfigError(f"{self.path} holds no rows ({wrong}): give JSONL, parquet, or a folder of images")

    def _parquet(self) -> Iterator[BatchRow]:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ConfigError.missing_extra("batch", "parquet") from error
        number = 0
        try:
            with pyarrow.parquet.ParquetFile(self.path, buffer_size=BUFFER) as file:
                columns = [name for name in file.schema_arrow.names if name in COLUMNS]
                for batch in file.iter_batches(batch_size=16, columns=columns):
                    for record in batch.to_pylist():
                        number += 1
                        yield self._row(record, number)
        except pyarrow.ArrowException as error:
            raise ConfigError(f"cannot read {self.path} as parquet ({error}): give an intact file") from error

    def _row(self, record: Mapping[str, Any], number: int) -> BatchRow:
        given = record.get("images") if record.get("images") is not None else record.get("image")
        several = given if isinstance(given, list) else [] if given is None else [given]
        question = record.get("question")
        images: list[str | bytes] = []
        problem = None
        for image in several:
            held = (image.get("bytes") or image.get("path")) if isinstance(image, Mapping) else image
            if isinstance(held, str | bytes):
                images.append(held)
            else:
                problem = f"an image is {type(image).__name__}, not a path"
        if not several:
            problem = "the row has no image: give it `images`, a list of paths"
        elif not isinstance(question, str) or not question.strip():
            problem = "the row has no question: give it `question`, a text"
        digest = _digest(several, question)
        id = record.get("id")
        named = isinstance(id, str | int | float) and not isinstance(id, bool) and str(id) != ""
        return BatchRow(
            id=_storable_id(str(id)) if named else f"{number}-{digest[:12]}",
            images=tuple(i if isinstance(i, bytes) else located(i, self.path.parent) for i in images),
            question=whole(question) if isinstance(question, str) else "",
            digest=digest,
            problem=problem,
        )


def _digest(images: list[Any], question: Any) -> str:
    """What is asked, as it was written: a folder may be moved with all that is in it."""

    def plain(value: Any) -> str:
        return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)

    return hashlib.sha256(json.dumps([images, question], default=plain).encode()).hexdigest()[:24]


def _storable_id(id: str) -> str:
    """Ids that differ only in what cannot be stored stay different."""
    kept = whole(id)
    return kept if kept == id else f"{kept}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
