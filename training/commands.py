"""The command line's part for data: `agentic-vision data …`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agentic_vision.cli_group import DONE, NO_ANSWER
from agentic_vision.errors import ConfigError
from agentic_vision.whole_file import write_whole

if TYPE_CHECKING:
    from agentic_vision.rows import Fault

data = typer.Typer(
    help="Make the data that policies are trained and evaluated on.\n\n"
    "Example: agentic-vision data pocket pocket/ --n 1000",
    no_args_is_help=True,
)


class SplitName(StrEnum):
    """Which part of PocketVQA."""

    train = "train"
    heldout = "heldout"


class RowFormat(StrEnum):
    """How rows are written."""

    jsonl = "jsonl"
    parquet = "parquet"


@data.command()
def pocket(
    out: Annotated[
        Path, typer.Argument(help="Folder to write to: rows.jsonl (or .parquet), images/ and a dataset card.")
    ],
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

    with _progress(as_json) as progress:
        task = progress.add_task("drawing", total=n)
        path = write_pocket_vqa(
            out, n, seed, split.value, format.value, lambda done, _: progress.update(task, completed=done)
        )
    if as_json:
        typer.echo(json.dumps({"rows": str(path), "n": n, "seed": seed, "split": split.value}))
    else:
        typer.echo(f"{n} questions of the {split.value} split: {path}")


@data.command()
def verl(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSONL, parquet, or a folder that datasets saved.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="What verl reads; images go beside it.")],
    recipe: Annotated[str, typer.Option("--recipe", help="Whose model and agent read the prompts.")] = "pocket_cpu",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Changes to the recipe.")
    ] = None,
    images: Annotated[str | None, typer.Option("--images", help="The column of images.")] = None,
    question: Annotated[str | None, typer.Option("--question", help="The column of questions.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", help="The column of answers.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Leave out rows in trouble, instead of stopping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Make a data set of your own ready for verl, after reading every row once.

    Example: agentic-vision data verl rows.jsonl train.parquet --recipe pocket_cpu
    """
    from agentic_vision.loading import Columns, each_row

    from .data.preflight import preflight
    from .data.verl_rows import write_verl_rows
    from .launch import model_folder
    from .recipe import read

    plan = read(recipe, change or ())
    rows = each_row(source, out.parent / "images", Columns(images, question, answer))
    with _progress(as_json) as progress, model_folder(plan) as model:
        task = progress.add_task("reading", total=None)
        report = preflight(rows, plan, model, lambda done: progress.update(task, completed=done))
    if not as_json:
        _show(report.as_dict())
    if not drop:
        report.check(source)
    if not report.good:
        raise ConfigError(f"{source} has no row that can be trained on")
    write_verl_rows(report.good, out)
    if as_json:
        typer.echo(json.dumps({"parquet": str(out), **report.as_dict()}))
    else:
        typer.echo(f"{len(report.good)} rows: {out}")


@data.command()
def difficulty(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSONL, parquet, or a folder that datasets saved.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", file_okay=False, help="Folder for rows.jsonl, answers.jsonl and shares.png."),
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Answers to a question, at the glance and in full each.")] = 8,
    policy: Annotated[str | None, typer.Option("--policy", help="A checkpoint folder or a hub name.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="Of the answers.")] = 1.0,
    glance: Annotated[
        float, typer.Option("--glance", min=0.001, max=1.0, help="Share of the visual tokens at a glance.")
    ] = 0.25,
    calls: Annotated[
        float, typer.Option("--calls", min=0.0, max=1.0, help="Share of the kept questions that need a call.")
    ] = 0.5,
    sure: Annotated[
        float, typer.Option("--sure", min=0.0, max=1.0, help="Share of right answers that counts as answered.")
    ] = 0.75,
    judge: Annotated[str | None, typer.Option("--judge", help="A model that judges the answers.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Fixes what is drawn by chance.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Keep the questions that teach when to look: those that need it, and those that do not.

    Example: agentic-vision data difficulty pocket/ kept/ --n 8
    """
    from agentic_vision.loading import load_rows

    from .data import difficulty as filter_

    faults: list[Fault] = []
    rows = load_rows(source, out / "images", faults=faults)
    asked = _sampling_policy(policy, temperature)
    accuracy = None
    if judge is not None:
        from agentic_vision.judge import Judge
        from agentic_vision.judge_cache import shared_cache

        from .rewards import JudgeReward

        accuracy = JudgeReward(Judge(judge, cache=shared_cache()))
    with _progress(as_json) as progress:
        task = progress.add_task("answering", total=len(rows))
        measured = filter_.measure(
            rows,
            asked,
            out,
            n=n,
            glance=glance,
            accuracy=accuracy,
            seed=seed,
            told={"policy": policy or "embedded", "judge": judge},
            progress=lambda done, _: progress.update(task, completed=done),
        )
    kept = filter_.chosen(rows, measured, calls=calls, sure=sure, seed=seed)
    lines = [
        {**row.model_dump(mode="json", exclude_none=True), "difficulty": difficulty.value} for row, difficulty in kept
    ]
    write_whole(out / "rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    picture = filter_.plot(measured, out / "shares.png", sure)
    found = {"rows": len(rows), "unusable": len(faults), "kept": len(kept), **filter_.summary(measured, sure)}
    if len(measured) < len(rows):
        found["no verdict"] = len(rows) - len(measured)
    confirmed = filter_.confirmed(rows, measured, sure)
    if confirmed is not None:
        found["confirmed"] = confirmed
    if as_json:
        typer.echo(json.dumps({**found, "out": str(out / "rows.jsonl"), "png": str(picture)}))
    else:
        _show(found)
        typer.echo(f"{len(kept)} of {len(rows)} questions: {out / 'rows.jsonl'}; shares: {picture}")
    raise typer.Exit(NO_ANSWER if len(measured) < len(rows) else DONE)  # the same command asks those again


def _progress(quiet: bool) -> Progress:
    """A bar on stderr; none where nobody watches."""
    console = Console(stderr=True)
    return Progress(transient=True, console=console, disable=quiet or not console.is_terminal)


def _sampling_policy(name: str | None, temperature: float) -> Any:
    if name is None:
        from agentic_vision.policies.embedded import EmbeddedPolicy

        return EmbeddedPolicy.load(temperature=temperature, max_batch=64)
    from agentic_vision.policies.transformers import TransformersPolicy

    return TransformersPolicy.load(name, temperature=temperature, max_batch=64)


def _show(found: dict[str, Any]) -> None:
    """A table of what was found, on stderr."""
    table = Table("found", "", box=None, show_header=False)
    for name, value in _flat(found):
        table.add_row(name, value)
    Console(stderr=True).print(table)


def _flat(found: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name} ")
        elif isinstance(value, list):
            yield from ((f"{before}{name}", str(one)) for one in value)
        elif value is not None:
            yield f"{before}{name}", str(value)
