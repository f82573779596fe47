"""What a recipe names: things of one's own, made with arguments, and found wherever a process runs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from agentic_vision.errors import AgenticVisionError, ConfigError
from agentic_vision.imports import load


def made(settings: Mapping[str, Any]) -> Any:
    """What `{"target": spec, **arguments}` makes: what the target gives when it is called with `arguments`.

    A target that cannot be called without any, such as a function that is a reward itself, is what is made. Raises
    `ConfigError` for settings without a target, for arguments that it does not take, and where it fails.
    """
    arguments = dict(settings)
    target = arguments.pop("target", None)
    if not isinstance(target, str):
        raise ConfigError(f"{dict(settings)} needs a target: package.module:name or path/file.py:name")
    found = load(target)
    if not callable(found) and not arguments:
        return found
    try:
        inspect.signature(found).bind(**arguments)
    except (TypeError, ValueError) as error:
        if not arguments and not isinstance(found, type):
            return found
        raise ConfigError(f"{target} does not take {arguments}: {error}") from error
    try:
        return found(**arguments)
    except AgenticVisionError:
        raise
    except Exception as error:  # whatever its author's code raises
        raise ConfigError(f"{target} fails where it is called: {type(error).__name__}: {error}") from error


def absolute(spec: str) -> str:
    """`spec` as every process can load it, wherever it runs: a file by its absolute path."""
    place, colon, name = spec.rpartition(":")
    return f"{os.path.abspath(place)}{colon}{name}" if place.endswith(".py") else spec
