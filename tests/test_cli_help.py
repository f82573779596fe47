"""Does every command show how it is used? Examples that parse, help that fits a terminal, completion for the shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agentic_vision.cli import app
from agentic_vision.cli_group import plugins

PROGRAM = "agentic-vision"


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with the words that call it; those that other packages add are not ours to judge."""
    yield path, command
    context = typer.Context(command, info_name=PROGRAM)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        point = plugins().get(name) if not path else None
        if point is None or point.dist is None or point.dist.name == PROGRAM:
            yield from leaves(command.get_command(context, name), (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


def examples(text: str) -> list[list[str]]:
    return [shlex.split(line.partition(": ")[2]) for line in text.splitlines() if line.strip().startswith("Example: ")]


def test_all_commands_are_looked_at() -> None:
    names = {" ".join(path) for path in COMMANDS}
    assert {"", "ask", "tools", "doctor", "data", "data pocket", "train", "eval", "serve", "mcp", "batch"} <= names
    assert len(names) >= 18


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or PROGRAM)
def test_the_help_of_every_command_has_an_example_whose_options_exist(path: tuple[str, ...]) -> None:
    found = examples(COMMANDS[path].help or "")
    assert found, f"{PROGRAM} {' '.join(path)} --help has no line 'Example: {PROGRAM} ...'"
    for program, *words in found:
        assert (program, tuple(words[: len(path)])) == (PROGRAM, path)
        deepest = max((other for other in COMMANDS if tuple(words[: len(other)]) == other), key=len)
        COMMANDS[deepest].make_context(PROGRAM, words[len(deepest) :])  # raises for what it does not take


def test_an_example_with_an_option_that_does_not_exist_would_be_seen() -> None:
    with pytest.raises(typer.TyperException, match="--nothing"):
        COMMANDS["ask",].make_context(PROGRAM, ["a.png", "What?", "--nothing"])


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or PROGRAM)
def test_an_example_is_one_line_of_a_usual_terminal(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert examples(result.stdout) == examples(COMMANDS[path].help or "")


def completed(words: str) -> list[str]:
    """What a bash shell is told when the tab key is pressed after `words`."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    env = {**os.environ, **asked, "_AGENTIC_VISION_COMPLETE": "complete_bash"}
    call = f"import sys; sys.argv[0] = {PROGRAM!r}; from agentic_vision.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, env=env, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_and_options() -> None:
    assert completed("agentic-vision d") == ["doctor", "data"]
    assert completed("agentic-vision data po") == ["pocket"]  # of an entry point
    assert completed("agentic-vision ask --tr") == ["--trace"]
    assert completed("agentic-vision data pocket out --split ") == ["train", "heldout"]


def test_completion_can_be_installed() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "--install-completion" in shown
    assert "--show-completion" in shown
