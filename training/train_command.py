"""The command line's part for training: `agentic-vision train …` and `agentic-vision curves …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from agentic_vision.errors import ConfigError

train = typer.Typer(add_completion=False)
curves = typer.Typer(add_completion=False)
sweep = typer.Typer(add_completion=False)

TOLD = ("reward", "accuracy", "call_ratio_fine", "call_ratio_coarse", "visual_tokens_ratio")


@train.command()
def train_command(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe's name, or a .yaml of your own.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings of the recipe to change.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", file_okay=False, help="The run's folder; one that was begun is gone on with."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the recipes and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print verl's configuration and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a policy by a recipe, with verl; a run that was begun is gone on with.

    Example: agentic-vision train pocket_smoke --out run/
    """
    from . import recipe as recipes
    from .plans import names

    if listed:
        _list(as_json)
        return
    if recipe is None:
        raise ConfigError(f"name a recipe: {', '.join(names(recipes.RECIPES))}")
    plan = recipes.read(recipe, changes or ())
    if dry_run:
        _print_configuration(plan, out or Path("run"), as_json)
        return
    if out is None:
        raise ConfigError("say where the run goes: --out DIR")
    from .launch import launch

    last: dict[str, float] = {}
    with _progress(as_json) as progress:
        task = progress.add_task("starting", total=plan.steps, told="")

        def report(step: int, figures: dict[str, float]) -> None:
            last.update(figures, step=step)
            progress.update(task, completed=step, description=plan.name, told=_told(figures))

        policy = launch(plan, out, report)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "policy": str(policy), "steps": plan.steps, "last": last}))
    else:
        typer.echo(f"trained: VisionAgent({str(policy)!r}); curves: {out / 'curves.png'}")


@curves.command()
def curves_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of several runs each (one a seed).")],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.")] = Path("curves.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw the curves of one run or of several, finished or not.

    Example: agentic-vision curves run/ --out curves.png
    """
    from .curves import draw_curves

    path = draw_curves(runs, out)
    typer.echo(json.dumps({"png": str(path)}) if as_json else str(path))


@sweep.command()
def sweep_command(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, or a .yaml of your own.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings to change in all of its runs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="The folder of its runs.")] = Path("sweep"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train several variants of a recipe, with several seeds each, and draw them side by side.

    Example: agentic-vision sweep figure_3a --out figure_3a/
    """
    from . import sweep as sweeps

    plan = sweeps.read(name)
    runs = plan.runs(out, changes or [])
    with _progress(as_json) as progress:
        tasks = {at: progress.add_task(str(at.relative_to(out)), total=one.steps, told="") for at, one in runs.items()}
        picture = sweeps.run_sweep(
            plan,
            out,
            changes or [],
            lambda at, step, figures: progress.update(tasks[at], completed=step, told=_told(figures)),
        )
    typer.echo(json.dumps({"png": str(picture), "runs": [str(at) for at in runs]}) if as_json else str(picture))


def _list(as_json: bool) -> None:
    from . import recipe as recipes
    from .plans import names

    found = {name: recipes.read(name).description for name in names(recipes.RECIPES)}
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("recipe", "what it trains", box=None)
    for name, description in found.items():
        table.add_row(name, " ".join(description.split()))
    Console().print(table)


def _print_configuration(plan: Any, out: Path, as_json: bool) -> None:
    from .launch import compose_run

    config = compose_run(plan, out)
    from omegaconf import OmegaConf

    typer.echo(json.dumps(OmegaConf.to_container(config)) if as_json else OmegaConf.to_yaml(config))


def _progress(quiet: bool) -> Progress:
    """A bar on stderr; none where nobody watches."""
    console = Console(stderr=True)
    whole = Column(no_wrap=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16, table_column=whole),
        MofNCompleteColumn(table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[told]}", table_column=Column()),  # what wraps where there is no room
        console=console,
        disable=quiet or not console.is_terminal,
    )


def _told(figures: dict[str, float]) -> str:
    names = {"call_ratio_fine": "calls fine", "call_ratio_coarse": "coarse", "visual_tokens_ratio": "tokens"}
    return " ".join(f"{names.get(name, name)} {figures[name]:.2f}" for name in TOLD if name in figures)
