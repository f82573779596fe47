"""The YAML files of what can be run: those that ship, by name, and one's own, by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from agentic_vision.errors import ConfigError


def names(folder: Path) -> list[str]:
    """Those that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_plan(folder: Path, name_or_path: str, kind: str) -> tuple[str, Any]:
    """Its name and what it says. Raises `ConfigError` for a name that `folder` does not have, or a broken file."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            shipped = ", ".join(names(folder))
            raise ConfigError(f"there is no {kind} {name_or_path!r}: choose from {shipped}, or give a .yaml")
    try:
        return path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the {kind} {path}: {error}") from error
