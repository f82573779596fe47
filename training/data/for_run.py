"""The data of a training run: drawn or converted once, then left as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agentic_vision.loading import each_row
from agentic_vision.rows import Row, read_rows

from ..recipe import Recipe
from .pocket_vqa import write_pocket_vqa
from .preflight import preflight
from .verl_rows import check_images, has_verl_rows, write_verl_rows


def write_run_data(recipe: Recipe, folder: Path, model: str) -> None:
    """`train.parquet` and `val.parquet` in `folder`; those that are there already stay.

    Files that `agentic-vision data verl` wrote, which has read every row, are taken as they are. `model`: a folder or
    a hub name. Raises `ConfigError` where a row cannot be trained on.
    """
    for number, split in enumerate(("train", "val")):
        path = folder / f"{split}.parquet"
        if path.exists():
            continue
        given = Path(getattr(recipe.files, split)) if recipe.files else None
        if given is None:
            write_verl_rows(_drawn(recipe, folder, split, number), path)
        elif has_verl_rows(given):
            check_images(given)
            _copy(given, path)
        else:
            report = preflight(each_row(given, folder / "images"), recipe, model)
            report.check(given)
            write_verl_rows(report.good, path)


def _drawn(recipe: Recipe, folder: Path, split: str, number: int) -> list[Row]:
    assert recipe.pocket is not None
    drawn = folder / split
    # Validation shows other pictures of the same split: the held-out one is for evaluation.
    write_pocket_vqa(drawn, getattr(recipe.pocket, split), recipe.pocket.seed + number, "train", "jsonl")
    return read_rows(drawn)


def _copy(given: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    shutil.copyfile(given, partial)
    os.replace(partial, path)
