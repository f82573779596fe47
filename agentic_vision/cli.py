"""The command line, `agentic-vision`. Exit codes: 0 done, 1 no answer, 2 bad input (a line on stderr).

Heavy imports wait until a command needs them, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_group import BAD_USAGE, DONE, NO_ANSWER, CommandGroup, complain, print_json, stdout_is_ours
from .cli_options import (
    BaseUrlOption,
    PolicyOption,
    SeedOption,
    TokensOption,
    ToolsOption,
    TurnsOption,
    make_agent,
)
from .errors import ConfigError

app = typer.Typer(
    name="agentic-vision",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Ask questions of pictures: the agent glances first and looks closer only where it must.\n\n"
    'Example: agentic-vision ask receipt.png "What is the total?"',
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


KNOWN = (
    "the small checkpoint in this package knows only pictures like PocketVQA's (receipts, charts, plans, cards): for "
    "others name a model, such as --policy Qwen/Qwen3-VL-2B-Instruct"
)


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
    """Ask a question of one or more pictures.

    Example: agentic-vision ask receipt.png "What is the total?" --json
    """
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

    with stdout_is_ours():
        agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens, seed=seed)
        result = agent.ask(sources, question)
    failed = None
    try:
        if trace is not None:
            result.save_trace(trace)
    except ConfigError as error:
        failed = error
    if as_json:
        print_json(result_json(result.trajectory))
    else:
        show_result(result.trajectory, trace if failed is None else None)
        if policy is None and sys.stderr.isatty():
            complain(KNOWN)
    if failed is not None:
        raise failed  # when the answer has been said: it was paid for
    raise typer.Exit(DONE if result.answer is not None else NO_ANSWER)


@app.command()
def tools(as_json: JsonOption = False) -> None:
    """List the visual tools that installed packages offer.

    Example: agentic-vision tools --json
    """
    from .cli_output import show_tools
    from .toolbox import Toolbox, installed_tools, packages

    found = []
    for name, points in installed_tools().items():
        package = packages(points)
        try:
            with stdout_is_ours():
                (tool,) = Toolbox.of([name]).tools.values()
        except (Exception, SystemExit) as error:  # whatever a package of others raises when it is imported
            mend = f"update or uninstall {package}"
            complain(f"warning: the tool {name!r} of {package} cannot be loaded ({error}): {mend}")
            continue
        found.append({"name": name, "description": tool.description, "schema": tool.schema, "package": package})
    if as_json:
        print_json({"tools": found})
    else:
        show_tools(found)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check what is installed here, and say how to mend what is broken.

    Exit code 2: something that is installed does not work. An extra that is absent is no fault.

    Example: agentic-vision doctor --json
    """
    from . import doctor as checks
    from .doctor import printed

    with stdout_is_ours():
        findings = checks.diagnose()
    told = printed.as_json(findings)
    if as_json:
        print_json(told)
    else:
        printed.show(findings)
    raise typer.Exit(DONE if told["works"] else BAD_USAGE)


def main() -> None:
    """The console script."""
    app()
