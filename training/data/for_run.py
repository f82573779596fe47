"""The data of a training run: drawn or converted once, then left as they are."""

from __future__ import annotations

from pathlib import Path

from agentic_vision.loading import each_row
from agentic_vision.rows import Row, read_rows

from ..recipe import Recipe
from .pocket_vqa import write_pocket_vqa
from .preflight import preflight
from .verl_rows import write_verl_rows


def write_run_data(recipe: Recipe, folder: Path, model: str) -> None:
    """`train.parquet` and `val.parquet` in `folder`; those that are there already stay.

    `model`: a folder or a hub name. Raises `ConfigError` where a row cannot be trained on.
    """
    for number, split in enumerate(("train", "val")):
        path = folder / f"{split}.parquet"
        if not path.exists():
            write_verl_rows(_rows(recipe, folder, split, number, model), path)


def _rows(recipe: Recipe, folder: Path, split: str, number: int, model: str) -> list[Row]:
    if recipe.pocket is not None:
        n = getattr(recipe.pocket, split)
        drawn = folder / split
        # Validation shows other pictures of the same split: the held-out one is for evaluation.
        write_pocket_vqa(drawn, n, recipe.pocket.seed + number, "train", "jsonl")
        return read_rows(drawn)
    assert recipe.files is not None
    path = Path(getattr(recipe.files, split))
    report = preflight(each_row(path, folder / "images"), recipe, model)
    report.check(path)
    return report.good
