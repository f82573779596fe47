"""How the command line finds commands of other packages, and how it complains: one line, no traceback.

An installed package adds a command, or a group of them, through the entry-point group `agentic_vision.commands`: a
name, and a `typer.Typer`. That is how `agentic-vision data` gets here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from .errors import AgenticVisionError, ConfigError

DONE, NO_ANSWER, BAD_USAGE = 0, 1, 2
COMMANDS_GROUP = "agentic_vision.commands"


class CommandGroup(TyperGroup):
    """Our own commands, then those of installed packages, which are loaded when they are needed."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As typer's, but an error that the user can mend is one line, and exit code 2."""
        try:
            with _told():
                code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "agentic-vision"
            message = error.format_message().rstrip(".")
            if message:  # there is none where a command without arguments has shown its help
                complain(f"{message}: see {command} --help")
            code = BAD_USAGE
        except AgenticVisionError as error:
            complain(str(error))
            code = BAD_USAGE
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("agentic_vision"):
                raise
            complain(f"{error.name} is not installed: `agentic-vision doctor` says which extra brings it")
            code = BAD_USAGE
        except OSError as error:  # a disk that is full, a path that cannot be: nothing that a traceback explains
            what = f"{error.filename or 'a file'} ({error.strerror or error})"
            complain(f"cannot read or write {what}: check the path and the room on its disk")
            code = BAD_USAGE
        except typer.Abort:
            code = NO_ANSWER
        sys.exit(code if isinstance(code, int) else DONE)

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name in plugins() if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands or cmd_name not in plugins():
            return super().get_command(ctx, cmd_name)
        try:
            return load_plugin(cmd_name)
        except ConfigError as error:  # one broken package must not take the help page away
            complain(f"warning: {error}")
            return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and args[0] in plugins():
            load_plugin(args[0])  # asked for by name: its trouble is the error, not a warning
        return super().resolve_command(ctx, args)


def complain(message: str) -> None:
    """One line on stderr, whatever `message` holds."""
    sys.stderr.write("agentic-vision: " + " ".join(message.split()) + "\n")


def print_json(value: Mapping[str, Any]) -> None:
    """One object on stdout, on one line."""
    sys.stdout.write(json.dumps(value) + "\n")


@contextmanager
def _told() -> Iterator[None]:
    """What the library logs and warns of in the block reaches the user: a command is the application."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("agentic-vision: %(message)s"))
    library = logging.getLogger("agentic_vision")
    library.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
    finally:
        library.removeHandler(handler)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """As a line, without the code that it comes from."""
    complain(f"warning: {message}")


@contextmanager
def stdout_is_ours() -> Iterator[None]:
    """What tools print in the block, and what they run prints, goes to stderr: programs read our stdout."""
    ours = sys.stdout
    ours.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ours.flush()  # whoever had kept it has written there, and that is not ours to print either
        os.dup2(kept, 1)
        os.close(kept)


def plugins() -> dict[str, EntryPoint]:
    """The commands that installed packages add, by name."""
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def load_plugin(name: str) -> Any:
    """The command or the commands of a package. Raises `ConfigError` where it cannot be loaded."""
    entry = plugins()[name]
    package = entry.dist.name if entry.dist else entry.value
    try:
        command = typer.main.get_command(entry.load())
    except (Exception, SystemExit) as error:  # whatever a package of others raises when it is imported
        raise ConfigError(
            f"the command {name!r} of {package} cannot be loaded ({error}): update or uninstall {package}"
        ) from error
    command.name = name
    return command
