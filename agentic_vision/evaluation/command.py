"""`agentic-vision eval` and `agentic-vision judge`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
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
    checked_endpoint,
    chosen_tools,
    policy_identity,
)
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..judge import Judge
    from ..rows import Fault

evaluate = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
judge = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ScoringOption = Annotated[str, typer.Option(metavar="RULE", help="exact, numeric, relaxed, anls, choice or vqa.")]
JudgeOption = Annotated[str | None, typer.Option(metavar="MODEL", help="Score by this model instead of a rule.")]
JudgeUrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The judge's endpoint; its key is OPENAI_API_KEY.")
]
USUAL = "glance,full,agent"
IMAGES = "images"  # of rows that hold images instead of naming files
ACCURACY, SCENES = "accuracy.png", "scenes.png"


@evaluate.command(no_args_is_help=True)
def run(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", show_default=False, help="Rows: JSONL, parquet, or a folder of `datasets`."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Where the outcomes go; a run that was killed goes on there."
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=USUAL,
            help="glance, full, resize:0.5, right_crop, random, agent, oracle; any of them with +fastv:0.36, "
            "+visiondrop:0.36 or +todre:0.36; or file.py:function. Repeat it, or separate by commas.",
        ),
    ] = None,
    scoring: ScoringOption = "exact",
    judge: JudgeOption = None,
    judge_url: JudgeUrlOption = None,
    replies: Annotated[
        Path | None,
        typer.Option(metavar="FILE.sqlite", help="Keep what the policy says, and do not ask it the same again."),
    ] = None,
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 16,
    limit: Annotated[
        int | None, typer.Option(min=1, show_default="all", help="Ask only the first so many rows.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", show_default=False, help="Ask nothing: compare the folders of two evaluations."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes what is drawn by chance.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare ways of looking, on questions whose answers are known: accuracy, visual tokens, calls.

    Example: agentic-vision eval rows.jsonl --strategy full,agent --out results
    """
    if compare is not None:
        _compare(*compare, as_json=as_json)
        return
    if data is None or out is None:
        raise ConfigError("give the rows and where the outcomes go: agentic-vision eval rows.jsonl --out results")
    checked_endpoint(policy, base_url)
    from ..loading import load_rows
    from ..policies.chosen import policy_of
    from . import evaluate as evaluation
    from .plots import plot_accuracy, plot_scenes
    from .printed import show_summary, show_written

    faults: list[Fault] = []
    rows = load_rows(data, out / IMAGES, faults=faults, limit=limit)
    names = [name.strip() for given in strategy or [USUAL] for name in given.split(",")]
    with _progress(hidden=as_json) as progress, stdout_is_ours():
        summary = evaluation(
            rows,
            policy_of(policy, base_url, None),
            names,
            out,
            name=policy_identity(policy, base_url),
            scoring=_judge(judge, judge_url) or scoring,
            replies=replies,
            tools=chosen_tools(tools),
            max_turns=max_turns,
            max_visual_tokens=max_visual_tokens,
            seed=seed,
            batch_size=concurrency,
            faults=faults,
            progress=progress,
        )
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        show_summary(summary)
    written = ["summary.json"]
    try:
        plots = (plot(summary, out / name) for name, plot in {ACCURACY: plot_accuracy, SCENES: plot_scenes}.items())
        written += [path.name for path in plots if path is not None]
    except ConfigError as error:  # the figures are there: a missing plot is a pity, not a failure
        complain(f"warning: {error}")
    if not as_json:
        show_written(out, written)
    raise typer.Exit(NO_ANSWER if summary.in_trouble else DONE)


@judge.command()
def measure(
    scoring: Annotated[str, typer.Option(metavar="RULE", help="exact, numeric, relaxed or anls.")] = "exact",
    judge: JudgeOption = None,
    judge_url: JudgeUrlOption = None,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The answers of an evaluation by exact match, in place of the hard pairs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a judge, or a rule: does it agree with people on answers that are hard to judge?

    Example: agentic-vision judge --judge gpt-5-mini
    """
    from .judged import RULES, answered_pairs, hard_pairs, judged
    from .printed import show_judged
    from .scoring import scorer

    if scoring not in RULES:
        raise ConfigError(f"{scoring!r} is no rule that can be measured on pairs: choose from {', '.join(RULES)}")
    pairs = answered_pairs(answers) if answers else hard_pairs()
    with _progress(hidden=as_json) as progress:
        found = judged(scorer(_judge(judge, judge_url) or scoring), pairs, progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_judged(found)


def _judge(model: str | None, url: str | None) -> Judge | None:
    if model is None:
        if url is not None:
            raise ConfigError("--judge-url says where a judge is, and no --judge which model it is: give both")
        return None
    from ..judge import Judge
    from ..judge_cache import shared_cache

    return Judge(model, base_url=url, cache=shared_cache())


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from .compare import compare
    from .printed import show_compared

    found = compare(first, second)
    if as_json:
        print_json({name: both.model_dump(mode="json") for name, both in found.items()})
    else:
        show_compared(found, first, second)


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
