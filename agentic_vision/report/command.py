"""`agentic-vision report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cli_group import print_json

if TYPE_CHECKING:
    from .page import Report

report = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

IMAGES = "images"  # of rows that hold images instead of naming files


@report.command(no_args_is_help=True)
def page(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders of `agentic-vision eval`, `train` and `sweep`, on one page."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="The rows, for pages of the questions that were broken and mended."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(min=0, max=1, show_default="that of full", help="The accuracy to plan for.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, show_default="the first DIR", help="Where report.html goes."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it anew whenever a folder grows, until all is done.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write report.html: figures, plots and trajectories of evaluations, curves of training runs, side by side.

    Example: agentic-vision report results run --data rows.jsonl --watch
    """
    from ..loading import each_row
    from ..rows import Row
    from . import watch as watching
    from .page import Report, write_report

    place = out or folders[0]
    given = each_row(data, place / IMAGES) if data else ()  # no image is opened but of those that are shown
    rows = {row.id: row for row in given if isinstance(row, Row)}

    def write() -> bool:
        found = Report.of(folders, target, wait=watch)
        done = not found.unfinished
        path = write_report(found, rows, place, again=None if done or not watch else watching.RELOAD_SECONDS)
        if done or not watch:
            _tell(found, path, as_json=as_json)
        elif not as_json:
            typer.echo(f"{'; '.join(found.unfinished)}. Written to {path}")
        return done

    if not watch:
        write()
        return
    try:
        watching.watch(folders, write)
    except KeyboardInterrupt:  # the usual way to stop looking
        typer.echo("stopped watching", err=True)


def _tell(found: Report, path: Path, *, as_json: bool) -> None:
    evaluations = found.evaluations
    told: dict[str, Any] = {}
    if evaluations is not None:
        told = evaluations.summary.model_dump(mode="json") | {"planned": evaluations.planned.model_dump(mode="json")}
    runs = [
        {"folder": str(run.folder), "step": run.step, "steps": run.steps, "done": run.done}
        for group in found.groups
        for run in group.runs
    ]
    if as_json:
        print_json({**told, **({"runs": runs} if runs else {}), "page": str(path)})
        return
    from .evaluations import planned_text

    for line in [*([planned_text(evaluations.planned)] if evaluations else []), *found.unfinished]:
        typer.echo(line)
    typer.echo(f"Written to {path}")
