"""Questions as verl reads them: a parquet file whose rows our agent loop and rewards understand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.rows import Row


def verl_row(row: Row, index: int) -> dict[str, Any]:
    """One row. Images stay where they are: their absolute paths go along."""
    return {
        "data_source": row.kind or "all",
        "prompt": [{"role": "user", "content": row.prompt}],
        "reward_model": {"style": "rule", "ground_truth": row.answer},
        "extra_info": {
            "index": index,
            "id": row.id,
            "question": row.prompt,
            "images": [os.path.abspath(image) for image in row.images],
            "kind": row.kind,
            "scene": row.scene,
            "references": list(row.references),
            "options": list(row.options),
            "evidence": list(row.evidence) if row.evidence else None,
        },
    }


def has_verl_rows(path: Path) -> bool:
    """Whether `path` is a parquet file whose rows are verl's already, as `agentic-vision data verl` writes them."""
    if path.suffix != ".parquet" or not path.is_file():
        return False
    import pyarrow.parquet

    with contextlib.suppress(pyarrow.ArrowInvalid):  # what is no parquet is for others to complain of
        schema = pyarrow.parquet.read_schema(path)
        if {"prompt", "reward_model", "extra_info"} <= set(schema.names):
            facts = schema.field("extra_info").type
            return bool(pyarrow.types.is_struct(facts)) and {"question", "images", "references"} <= {
                one.name for one in facts
            }
    return False


def check_images(path: Path) -> None:
    """Raises `ConfigError` where images of the rows of verl in `path` are files that have gone."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["extra_info.images"]):
            for facts in batch.column(0).to_pylist():
                for image in facts["images"]:
                    if not os.path.exists(image):
                        raise ConfigError(
                            f"{path} has rows whose images are not there, as {image}: put them back, or write it again "
                            "with `agentic-vision data verl`"
                        )


def write_verl_rows(rows: Sequence[Row], path: Path) -> Path:
    """Write `rows` to the parquet file `path`, whose folder is made. Raises `ConfigError` without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError.missing_extra("train", "parquet") from error

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist([verl_row(row, index) for index, row in enumerate(rows)])
    partial = path.with_suffix(".partial")
    pyarrow.parquet.write_table(table, partial)
    os.replace(partial, path)
    return path
