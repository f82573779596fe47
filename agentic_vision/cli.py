"""The command line, `agentic-vision`. Exit codes: 0 done, 1 no answer, 2 bad input (a line on stderr).

Heavy imports wait until a command needs them, so that `--help` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_group import DONE, NO_ANSWER, CommandGroup, complain
from .cli_options import (
    BaseUrlOption,
    PolicyOption,
    TokensOption,
    ToolsOption,
    TurnsOption,
    identity,
    make_agent,
    tool_names,
)
from .errors import ConfigError

if TYPE_CHECKING:
    from .policy import Policy

app = typer.Typer(
    name="agentic-vision",
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Ask questions of pictures: the agent glances first and looks closer only where it must.",
)

SeedOption = Annotated[int, typer.Option(help="Fixes what is drawn by chance.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(no_args_is_help=True)
def ask(
    images_and_question: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE... QUESTION", help="One or more image files, then the question."),
    ],
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page that shows what the agent saw.")
    ] = None,
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Ask a question of one or more pictures."""
    *images, question = images_and_question
    if not question.strip():
        raise ConfigError('the question is empty: put it last, in quotes, such as "What is the total?"')
    if os.path.isfile(question):  # pathlib's raises where the question is longer than a file's name may be
        raise ConfigError(f"the question is missing ({question} is a file): put it last, in quotes")
    if not images:
        raise ConfigError('there is no image: agentic-vision ask picture.png "What is the total?"')
    if trace is not None and (trace.is_dir() or not trace.absolute().parent.is_dir()):
        raise ConfigError(f"cannot write the trace to {trace}: give a file in a folder that exists")
    from .source import Source

    sources = [Source.open(image) for image in images]  # a wrong path is told before a model is loaded

    from .cli_output import result_json, show_result

    agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens, seed=seed)
    result = agent.ask(sources, question)
    if trace is not None:
        result.save_trace(trace)
    if as_json:
        _print_json(result_json(result.trajectory))
    else:
        show_result(result.trajectory, trace)
    raise typer.Exit(DONE if result.answer is not None else NO_ANSWER)


@app.command()
def tools(as_json: JsonOption = False) -> None:
    """List the visual tools that installed packages offer."""
    from .cli_output import show_tools
    from .toolbox import Toolbox, installed_tools, packages

    found = []
    for name, points in installed_tools().items():
        package = packages(points)
        try:
            (tool,) = Toolbox.of([name]).tools.values()
        except Exception as error:  # whatever a package of others raises when it is imported
            mend = f"update or uninstall {package}"
            complain(f"warning: the tool {name!r} of {package} cannot be loaded ({error}): {mend}")
            continue
        found.append({"name": name, "description": tool.description, "schema": tool.schema, "package": package})
    if as_json:
        _print_json({"tools": found})
    else:
        show_tools(found)


@app.command("eval", no_args_is_help=True)
def evaluate_command(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Questions, a JSON object a line: see `data pocket`.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the outcomes go; a run that was killed goes on there.")
    ],
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default="glance,full,agent",
            help="glance, full, resize, right_crop, random, agent, oracle: repeat it, or separate by commas.",
        ),
    ] = None,
    policy: PolicyOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, show_default="all", help="Ask only the first so many rows.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare ways of looking, on questions whose answers are known: accuracy, visual tokens, calls."""
    from .cli_output import show_summary
    from .evaluation import evaluate
    from .evaluation.plots import plot_accuracy
    from .rows import read_rows

    rows = read_rows(data)[:limit]
    names = [name.strip() for given in strategy or ["glance,full,agent"] for name in given.split(",")]
    loaded, name = _load(policy)
    with _progress(hidden=as_json) as progress:
        summary = evaluate(
            rows,
            loaded,
            names,
            out,
            name=name,
            tools=tool_names(tools),
            max_turns=max_turns,
            max_visual_tokens=max_visual_tokens,
            seed=seed,
            progress=progress,
        )
    if as_json:
        _print_json(summary.model_dump(mode="json"))
    else:
        show_summary(summary, out)
    try:
        plot_accuracy(summary, out / "accuracy.png")
    except ConfigError as error:  # the figures are there: a missing plot is a pity, not a failure
        complain(f"warning: {error}")


def main() -> None:
    """The console script."""
    app()


def _load(policy: str | None) -> tuple[Policy, str]:
    """The policy, and what tells it from others: its name and a digest of its weights (if files)."""
    from .agent import VisionAgent

    return VisionAgent(policy).policy, identity(policy)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr; none where nobody watches."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("asking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
