"""Things of one's own by name: `package.module:name`, or `file.py:name` for what is in no package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError


def load(spec: str) -> Any:
    """The object that `spec` names. Raises `ConfigError` where there is none."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ConfigError(f"{spec!r} names nothing: write package.module:name or path/file.py:name")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except (ImportError, OSError, SyntaxError) as error:
        raise ConfigError(f"cannot import {place} for {spec!r}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ConfigError(f"{place} has no {name}: see {spec!r}") from None


def made(settings: Mapping[str, Any]) -> Any:
    """What `{"target": spec, **arguments}` makes: the object itself, or what it gives when called with `arguments`.

    Raises `ConfigError` for settings without a target and for arguments that it does not take.
    """
    arguments = dict(settings)
    target = arguments.pop("target", None)
    if not isinstance(target, str):
        raise ConfigError(f"{dict(settings)} needs a target: package.module:name or path/file.py:name")
    found = load(target)
    if not callable(found) or (not arguments and not isinstance(found, type) and not hasattr(found, "__code__")):
        return found
    try:
        inspect.signature(found).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{target} does not take {arguments}: {error}") from error
    return found(**arguments)


def absolute(spec: str) -> str:
    """`spec` as every process can load it, wherever it runs: a file by its absolute path."""
    place, colon, name = spec.rpartition(":")
    return f"{os.path.abspath(place)}{colon}{name}" if place.endswith(".py") else spec


def _file(path: Path) -> Any:
    path = path.resolve()
    name = f"_agentic_vision_file_{path.stem}_{abs(hash(str(path)))}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None or not path.is_file():
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
