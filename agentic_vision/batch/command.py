"""`agentic-vision batch` and `agentic-vision batch-files`: many questions, from a file into a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..cli_group import DONE, NO_ANSWER, complain, print_json, stdout_is_ours
from ..cli_options import (
    BaseUrlOption,
    PolicyOption,
    TokensOption,
    ToolsOption,
    TurnsOption,
    chosen_tools,
    make_agent,
    policy_identity,
)

if TYPE_CHECKING:
    from .pace import Pace
    from .rounds import Round
    from .run import Watch
    from .tally import Tally

batch = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
batch_files = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RowsArgument = Annotated[Path, typer.Argument(metavar="IN", help="JSONL or parquet rows, or a folder of images.")]
QuestionOption = Annotated[str | None, typer.Option(help="Asked of every image, where IN is a folder of them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@batch.command(no_args_is_help=True)
def ask_all(
    rows: RowsArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="A line a row; a run that was killed goes on there.")],
    question: QuestionOption = None,
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Questions at once; fewer while the endpoint is overloaded.")
    ] = 16,
    as_json: JsonOption = False,
) -> None:
    """Ask the questions of a file, or one question of every image in a folder.

    Example: agentic-vision batch rows.jsonl --out answers.jsonl
    """
    from ..policies.openai import OpenAIPolicy
    from .rows import Rows
    from .run import arun_batch

    Rows(rows, question)  # a wrong path is told before a model is loaded
    with stdout_is_ours():
        agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens)
    name = str(policy) if base_url else policy_identity(policy, None)  # a run goes on where its model has moved to
    with _progress() as watch:

        async def work() -> Tally:
            try:
                return await arun_batch(
                    rows, out, agent, question=question, concurrency=concurrency, policy=name, watch=watch
                )
            finally:
                if isinstance(agent.policy, OpenAIPolicy):
                    await agent.policy.aclose()  # of this loop, which ends here

        try:
            with stdout_is_ours():
                tally = asyncio.run(work())  # not `run_batch`: Ctrl-C ends the questions in flight before it is raised
        except KeyboardInterrupt:
            complain(f"interrupted: {out} keeps what is done, and the same command goes on from there")
            raise
    _gone(tally, out)
    if as_json:
        print_json(tally.as_json())
    else:
        _show(tally, out)
        if tally.failed:
            typer.echo(f"{tally.failed:,} rows failed for want of a policy: the same command asks them again")
    raise typer.Exit(NO_ANSWER if tally.failed else DONE)


@batch_files.command(no_args_is_help=True)
def files(
    rows: RowsArgument,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", file_okay=False, help="Where the files of every round, and the answers, are."),
    ],
    policy: Annotated[str, typer.Option("--policy", metavar="MODEL", help="The endpoint's name of the model.")],
    question: QuestionOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask by OpenAI's Batch API: write the next turn's requests, from what came back of the last one's.

    Have DIR/round-001/requests-*.jsonl answered, put the output and error files beside them, and give the same command
    again, until it says that none is left.

    Example: agentic-vision batch-files rows.jsonl --out DIR --policy gpt-5-mini
    """
    from ..agent import VisionAgent
    from .filed import FiledPolicy
    from .rounds import anext_round

    with _progress() as watch, stdout_is_ours():
        agent = VisionAgent(
            FiledPolicy(policy), tools=chosen_tools(tools), max_turns=max_turns, max_visual_tokens=max_visual_tokens
        )
        made = asyncio.run(anext_round(rows, out, agent, question=question, watch=watch))
    _gone(made.tally, out)
    if as_json:
        print_json(_round_json(made))
    else:
        _show_round(made, out)
    raise typer.Exit(NO_ANSWER if made.missing or (made.tally.failed and not made.requests) else DONE)


def _round_json(made: Round) -> dict[str, object]:
    return {
        "round": made.folder.name if made.folder else None,
        "requests": made.requests,
        "missing": made.missing,
        "files": [str(path) for path in made.files],
        **made.tally.as_json(),
    }


def _show_round(made: Round, out: Path) -> None:
    from .rounds import ANSWERS

    _show(made.tally, out / ANSWERS)
    if made.tally.failed:
        typer.echo(
            f"{made.tally.failed:,} rows failed, as the results of their requests say: have those answered anew, put "
            "the new results beside the old, and give the same command again"
        )
    if made.missing:
        typer.echo(f"{made.missing:,} of {made.requests:,} requests in {made.folder} have no result there yet")
    elif made.folder is not None:
        typer.echo(f"{made.requests:,} requests in {made.folder}: put the files of their results there")


def _show(tally: Tally, out: Path) -> None:
    """What was done, for people."""
    reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in tally.stop_reasons.most_common())
    typer.echo(f"{tally.done:,} of {tally.rows:,} rows in {out}{f': {reasons}' if reasons else ''}")
    cost = "" if tally.cost is None else f", ${tally.cost:,.4f}"
    typer.echo(
        f"{tally.visual_tokens:,} visual tokens, {tally.full_resolution_tokens:,} at full resolution: "
        f"{tally.saved:.0%} saved; {tally.tool_calls:,} tool calls{cost}"
    )


def _gone(tally: Tally, out: Path) -> None:
    if tally.gone:
        complain(f"warning: {out} holds {tally.gone:,} rows that are not in IN any more: they stay there")


@contextmanager
def _progress() -> Iterator[Watch | None]:
    """A progress bar on stderr; none where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bar:
        task = bar.add_task("")

        def watch(tally: Tally, pace: Pace) -> None:
            rate = tally.asked / tally.seconds if tally.seconds else 0.0
            cost = "" if tally.cost is None else f", ${tally.cost:,.2f}"
            fewer = "" if pace.limit == pace.most else f", {int(pace.limit)} at once"
            said = f"{rate:,.1f}/s, {tally.saved:.0%} tokens saved{cost}{fewer}"
            bar.update(task, completed=tally.done, total=tally.rows, description=said)

        yield watch
