"""A data set as rows: what is wrong with a row is said of that row, and stops no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ..errors import ConfigError, RowError
from ..rows import Fault, Row, complaint
from .images import Images
from .records import located, records
from .shapes import Columns, as_row, id_of


class _Gathered:
    """Rows as they are read. Those at fault are noted in `faults` or, where there is no such list, raised."""

    def __init__(self, path: Path, faults: list[Fault] | None) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._faults = faults
        self._first: Fault | None = None
        self._ids: set[str] = set()

    def add(self, line: int, row: Row) -> None:
        """Keeps the row, unless there is one of its id."""
        if row.id in self._ids:
            self.fault(line, row.id, f"the id {row.id!r} comes twice: make ids unique")
        else:
            self._ids.add(row.id)
            self.rows.append(row)

    def fault(self, line: int, id: str | None, reason: str) -> None:
        """Notes a fault. Raises `RowError` where nobody asked for them."""
        if self._faults is None:
            raise RowError(f"{self.path}, line {line}: {reason}")
        fault = Fault(line=line, id=id, reason=reason)
        self._first = self._first or fault
        self._faults.append(fault)

    def all(self) -> list[Row]:
        """The rows. Raises `ConfigError` where there is none."""
        if not self.rows and self._first:
            raise ConfigError(
                f"{self.path} holds no row that can be used (line {self._first.line}: {self._first.reason})"
            )
        if not self.rows:
            raise ConfigError(f"{self.path} holds no rows: give a data set with a question a row")
        return self.rows


def load_rows(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str],
    columns: Columns | None = None,
    *,
    faults: list[Fault] | None = None,
    limit: int | None = None,
) -> list[Row]:
    """The rows of a JSONL, CSV or parquet file, or of a folder: of one of these, of parquet shards, or saved.

    A folder may hold `rows.jsonl`, the metadata of `imagefolder`, one split in parquet, or what `save_to_disk` wrote.
    Image paths are relative to the file; images that are bytes are written to the folder `images`, equal ones once.
    `limit`: reading stops at so many good rows. A row with no answer, with an image that is missing or broken, or
    whose id comes twice is left out and added to `faults`; without such a list it raises `RowError`. Raises
    `ConfigError` where `path` is no data set, or no row of it can be used.
    """
    path = located(Path(path))
    held = _images(path, images)
    gathered = _Gathered(path, faults)
    for line, given in _each(path, held, columns or Columns()):
        if limit is not None and len(gathered.rows) >= limit:
            break
        if isinstance(given, Fault):
            gathered.fault(line, given.id, given.reason)
            continue
        try:
            for image in given.images:
                held.check(image)
        except RowError as error:
            gathered.fault(line, given.id, str(error))
        else:
            gathered.add(line, given)
    return gathered.all()


def each_row(
    path: str | os.PathLike[str], images: str | os.PathLike[str], columns: Columns | None = None
) -> Iterator[Row | Fault]:
    """As `load_rows`, one by one, for those who look at images and ids themselves: neither is checked."""
    path = located(Path(path))
    for _, given in _each(path, _images(path, images), columns or Columns()):
        yield given


def _images(path: Path, folder: str | os.PathLike[str]) -> Images:
    return Images(path if path.is_dir() else path.parent, Path(folder))


def _each(path: Path, images: Images, columns: Columns) -> Iterator[tuple[int, Row | Fault]]:
    empty = True
    for line, said in enumerate(records(path), 1):
        if said == "":
            continue
        empty = False
        if isinstance(said, str):
            yield line, Fault(line=line, id=None, reason=said)
            continue
        try:
            yield line, as_row(said, line, columns, images)
        except (RowError, ValidationError) as error:
            reason = complaint(error) if isinstance(error, ValidationError) else str(error)
            yield line, Fault(line=line, id=id_of(said, columns), reason=reason)
    if empty:
        raise ConfigError(f"{path} holds no rows: give a data set with a question a row")
