"""What does a data set hold? Its records one by one, as dictionaries, from whatever form it has."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ConfigError

Record: TypeAlias = "dict[str, Any] | str"
"""A row's columns, or why it cannot be read."""

FILES = ("rows.jsonl", "metadata.jsonl", "metadata.csv", "metadata.parquet")
"""What a folder of rows is read from; the last three are those of `imagefolder`."""
SAVED = ("state.json", "dataset_dict.json")
"""One of these marks a folder that `save_to_disk` wrote."""
BUFFER = 2**20  # bytes; without it pyarrow holds a whole row group's images at once
AT_ONCE = 16  # rows, whose images may be large
LARGEST = 2**31 - 1  # characters of a CSV's cell, which may be a picture in base64
_SHARD = re.compile(r"(-\d{5}-of-\d{5}.*|^\d+)$")


def located(path: Path) -> Path:
    """The file that `path` is read from: the one with the rows, where it is a folder that has one."""
    return next((path / name for name in FILES if (path / name).is_file()), path)


def records(path: Path) -> Iterator[Record]:
    """The records of `path`, which is `located`, in order; of JSONL a blank line is an empty text.

    Raises `ConfigError` where it is no data set, or a package is missing that reads it.
    """
    try:
        if path.is_dir() and any((path / name).is_file() for name in SAVED):
            yield from _saved(path)
        elif path.is_dir():
            for shard in _shards(path):
                yield from _parquet(shard)
        elif path.suffix == ".parquet":
            yield from _parquet(path)
        elif path.suffix == ".csv":
            yield from _csv(path)
        else:
            yield from _json_lines(path)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot read {path} ({reason}): give JSONL, CSV, parquet, or a folder that datasets saved"
        ) from error


def _csv(path: Path) -> Iterator[Record]:
    usual = csv.field_size_limit(LARGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for said in csv.DictReader(file):
                beyond = said.pop(None, ())
                yield "it has more cells than the first line names" if any(beyond) else said
    finally:
        csv.field_size_limit(usual)


def _json_lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if not line.strip():
                yield ""
                continue
            try:
                said = json.loads(line)
            except (ValueError, RecursionError) as error:  # also of a number of thousands of digits
                yield f"no JSON: {error}"
                continue
            yield said if isinstance(said, dict) else "no JSON object"


def _shards(path: Path) -> list[Path]:
    """The parquet files of one split, as the hub holds them, there or in `data/`.

    They are called `test-00000-of-00002.parquet`, or `0000.parquet` where the hub has converted them.
    """
    found = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    splits = sorted({_SHARD.sub("", shard.stem) for shard in found})
    if not found:
        raise ConfigError(
            f"{path} holds no data set: a folder needs {', '.join(FILES)}, *.parquet, or what datasets saved"
        )
    if len(splits) > 1:
        raise ConfigError(f"{path} has several splits ({', '.join(splits)}): give a folder, or a file, of one")
    return found


def _parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError.missing_extra("eval", "parquet") from error
    with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER) as file:
        for batch in file.iter_batches(batch_size=AT_ONCE):
            yield from batch.to_pylist()


def _saved(path: Path) -> Iterator[Record]:
    try:
        from datasets import Dataset, load_from_disk
    except ImportError as error:
        raise ConfigError(
            f"{path} was saved by datasets, which is not installed: pip install datasets, or save it as parquet"
        ) from error
    saved = load_from_disk(str(path))
    if not isinstance(saved, Dataset):
        raise ConfigError(f"{path} has several splits: give the folder of one, such as {path / next(iter(saved))}")
    # As they are stored: images stay bytes, to be decoded by those who look.
    for table in saved.with_format("arrow").iter(batch_size=AT_ONCE):
        yield from table.to_pylist()
