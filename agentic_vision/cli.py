"""The command line, `agentic-vision`: exit code 0 done, 1 no answer, 2 bad usage or bad input (one line on stderr).

Heavy imports wait until a command needs them, so that `--help` is quick. Installed packages add commands through the entry-point
group `agentic_vision.commands` (a name, and a `typer.Typer`); that is how `data` gets here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .errors import AgenticVisionError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .policy import Policy

DONE, NO_ANSWER, BAD_USAGE = 0, 1, 2
COMMANDS_GROUP = "agentic_vision.commands"
EVAL_DEFAULT = ["glance", "full", "agent"]


class PluginGroup(TyperGroup):
    """Commands of our own first, then those of installed packages; and every expected error as one line on stderr."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """As typer's, but an error that a user can mend is one line, without usage text or traceback."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **kwargs)
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "agentic-vision"
            _complain(f"{error.format_message().rstrip('.')}: see {command} --help")
            code = BAD_USAGE
        except AgenticVisionError as error:
            _complain(str(error))
            code = BAD_USAGE
        except typer.Abort:
            code = NO_ANSWER
        sys.exit(code if isinstance(code, int) else DONE)

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name in _plugins() if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands or cmd_name not in _plugins():
            return super().get_command(ctx, cmd_name)
        try:
            return _load_plugin(cmd_name)
        except ConfigError as error:  # one broken package must not take the help page away
            _complain(f"warning: {error}")
            return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and args[0] in _plugins():
            _load_plugin(args[0])  # asked for by name: its trouble is the error, not a warning
        return super().resolve_command(ctx, args)


app = typer.Typer(name="agentic-vision", cls=PluginGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Ask questions of pictures; the agent glances first and looks closer only where it must.")

PolicyOption = Annotated[str | None, typer.Option("--policy", metavar="NAME_OR_FOLDER", show_default="the checkpoint in this package",
                                                  help="A checkpoint folder or hub name.")]
ToolsOption = Annotated[str | None, typer.Option("--tools", metavar="A,B", show_default="zoom_crop,full_res,resize",
                                                 help="Tools that the model may call; '' for none.")]
TurnsOption = Annotated[int, typer.Option(min=1, help="Most messages of the model.")]
TokensOption = Annotated[int | None, typer.Option(min=1, show_default="no limit", help="Most visual tokens, the glance included.")]
SeedOption = Annotated[int, typer.Option(help="Fixes all that is drawn by chance.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(no_args_is_help=True)
def ask(
    images_and_question: Annotated[list[str], typer.Argument(metavar="IMAGE... QUESTION", show_default=False,
                                                             help="One or more image files, then the question.")],
    trace: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page that shows what the agent saw and why.")] = None,
    policy: PolicyOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Ask a question of one or more pictures."""
    *images, question = images_and_question
    if not images:
        raise ConfigError("an image or the question is missing: agentic-vision ask picture.png \"What is the total?\"")
    if not question.strip():
        raise ConfigError("the question is empty: put it last, in quotes, such as \"What is the total?\"")
    if Path(question).is_file():
        raise ConfigError(f"the question is missing, the last argument ({question}) is a file: put the question last, in quotes")
    if trace is not None and (trace.is_dir() or not trace.absolute().parent.is_dir()):
        raise ConfigError(f"cannot write the trace to {trace}: give a file in a folder that exists")
    from .source import Source

    sources = [Source.open(image) for image in images]  # a wrong path is told before a model is loaded

    from .agent import VisionAgent
    from .cli_output import result_json, show_result

    agent = VisionAgent(policy, tools=_names(tools), max_turns=max_turns, max_visual_tokens=max_visual_tokens, seed=seed)
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

    found = []
    for entry in sorted(entry_points(group="agentic_vision.tools"), key=lambda entry: entry.name):
        package = entry.dist.name if entry.dist else "?"
        try:
            tool = entry.load()
            found.append({"name": tool.name, "description": tool.description, "schema": tool.schema, "package": package})
        except Exception as error:  # whatever a package of others raises when it is imported
            _complain(f"warning: the tool {entry.name!r} of {package} cannot be loaded ({error}): update or uninstall {package}")
    if as_json:
        _print_json({"tools": found})
    else:
        show_tools(found)


@app.command("eval", no_args_is_help=True)
def evaluate_command(
    data: Annotated[Path, typer.Argument(metavar="DATA", show_default=False, help="JSONL rows, such as `data pocket` writes.")],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Where the outcomes go; a killed run goes on from them.")],
    strategy: Annotated[list[str], typer.Option(
        metavar="NAME", help="glance, full, resize, right_crop, random, agent or oracle; repeat it, or separate by commas.")
    ] = EVAL_DEFAULT,
    policy: PolicyOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    limit: Annotated[int | None, typer.Option(min=1, show_default="all", help="Ask the first so many rows only.")] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare ways of looking on questions with known answers: accuracy, visual tokens, calls."""
    from .cli_output import show_summary
    from .evaluate import SUMMARY, evaluate
    from .plots import plot_accuracy
    from .rows import read_rows

    rows = read_rows(data)[:limit]
    names = [name.strip() for given in strategy for name in given.split(",")]
    with _progress("asking", hidden=as_json) as progress:
        summary = evaluate(rows, _policy(policy), names, out, name=_identity(policy), tools=_names(tools), max_turns=max_turns,
                           max_visual_tokens=max_visual_tokens, seed=seed, progress=progress)
    if as_json:
        _print_json(summary.model_dump(mode="json"))
    else:
        show_summary(summary, out / SUMMARY)
    try:
        plot_accuracy(summary, out / "accuracy.png")
    except ConfigError as error:  # the figures are there: a missing plot is a pity, not a failure
        _complain(f"warning: {error}")


def main() -> None:
    """The console script."""
    app()


def _names(tools: str | None) -> list[str] | None:
    """The tools asked for by name; None for the agent's usual ones."""
    return None if tools is None else [name.strip() for name in tools.split(",") if name.strip()]


def _policy(name: str | None) -> Policy:
    """The policy called `name`: the embedded one, or local weights."""
    return None  # type: ignore[return-value]


def _identity(name: str | None) -> str:
    """What tells this policy from others in an evaluation's settings: its name and the state of its weights."""
    return name or "embedded"


@contextmanager
def _progress(what: str, *, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr; none where nobody watches."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _load_plugin(name: str) -> Any:
    """The command group of a package. Raises `ConfigError` where it cannot be loaded."""
    entry = _plugins()[name]
    package = entry.dist.name if entry.dist else entry.value
    try:
        group = typer.main.get_group(entry.load())
    except Exception as error:  # whatever a package of others raises when it is imported
        raise ConfigError(f"the command {name!r} of {package} cannot be loaded ({error}): update or uninstall {package}") from error
    group.name = name
    return group


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")


def _complain(message: str) -> None:
    sys.stderr.write("agentic-vision: " + " ".join(message.split()) + "\n")
