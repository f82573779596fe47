"""The command line's part for data: `agentic-vision data …`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

data = typer.Typer(help="Make the data that policies are trained and evaluated on.", no_args_is_help=True)


class SplitName(StrEnum):
    train = "train"
    heldout = "heldout"


class RowFormat(StrEnum):
    jsonl = "jsonl"
    parquet = "parquet"


@data.callback()
def _group() -> None:
    """Keeps `data` a group of commands while it has a single one."""


@data.command()
def pocket(
    out: Annotated[Path, typer.Argument(help="Folder to write to: rows.jsonl (or .parquet) and images/.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many questions, each with a picture of its own.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 0,
    split: Annotated[SplitName, typer.Option("--split", help="heldout shows what train never does.")] = SplitName.train,
    format: Annotated[RowFormat, typer.Option("--format", help="How the rows are written.")] = RowFormat.jsonl,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Write PocketVQA: pictures with coarse questions (a glance is enough) and fine ones (it is not).

    Example: agentic-vision data pocket pocket/ --n 1000 --seed 1 --split heldout
    """
    from .data.pocket_vqa import write_pocket_vqa

    with Progress(transient=True, disable=as_json) as progress:
        task = progress.add_task("drawing", total=n)
        path = write_pocket_vqa(
            out, n, seed, split.value, format.value, lambda done, _: progress.update(task, completed=done)
        )
    if as_json:
        typer.echo(json.dumps({"rows": str(path), "n": n, "seed": seed, "split": split.value}))
    else:
        typer.echo(f"{n} questions of the {split.value} split: {path}")
