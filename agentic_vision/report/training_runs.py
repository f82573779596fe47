"""What is in the folders of training runs, and how far are they? Read from `metrics.jsonl` and `recipe.json` alone."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .metrics import Figures, read_metrics

METRICS, RECIPE = "metrics.jsonl", "recipe.json"
SETTINGS = 300  # of a recipe are read
LONGEST = 400  # characters of a setting's value
LATELY = 20  # steps whose seconds say how long the next ones take


@dataclass(frozen=True)
class TrainingRun:
    """A run, finished or not. `lines`: a step each; `settings`: the recipe's, by dotted names.

    `written`: when the last step was told, in seconds since the epoch; None before the first. `broken`: lines that are
    no figures.
    """

    folder: Path
    lines: Sequence[Figures]
    settings: Mapping[str, str]
    broken: int = 0
    written: float | None = None

    @classmethod
    def of(cls, folder: Path) -> TrainingRun:
        """The run in `folder`, whatever of it is there."""
        metrics = folder / METRICS
        lines, broken = read_metrics(metrics)
        return cls(folder, lines, _settings(folder / RECIPE), broken, metrics.stat().st_mtime if lines else None)

    @property
    def step(self) -> int:
        """The last step that was told; 0 before the first."""
        return int(self.lines[-1]["step"]) if self.lines else 0

    @property
    def steps(self) -> int | None:
        """How many it is to have; None where the recipe does not say."""
        said = self.settings.get("steps", "")
        return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else None

    @property
    def done(self) -> bool:
        """Whether the last step was told."""
        return self.steps is not None and self.step >= self.steps

    @property
    def seconds(self) -> float | None:
        """What a step takes: the median of the last ones."""
        told = [line["seconds"] for line in self.lines[-LATELY:] if math.isfinite(line.get("seconds", math.nan))]
        return statistics.median(told) if told else None

    @property
    def left(self) -> float | None:
        """Seconds until the last step, if all goes on as it did; None where that is not known."""
        if self.steps is None or self.seconds is None:
            return None
        return max(0.0, (self.steps - self.step) * self.seconds)


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seed alone: drawn as one, with a band from the lowest to the highest."""

    name: str
    runs: Sequence[TrainingRun]

    @property
    def told(self) -> list[Sequence[Figures]]:
        """The lines of those that have begun."""
        return [run.lines for run in self.runs if run.lines]


def is_run(folder: Path) -> bool:
    """Whether a training run was begun in `folder`."""
    return (folder / METRICS).is_file() or (folder / RECIPE).is_file()


def runs_in(folder: Path) -> list[TrainingRun]:
    """The runs of a folder: its own, or those of its subfolders. Raises `ConfigError` where there is none."""
    found = [folder] if is_run(folder) else [path for path in _subfolders(folder) if is_run(path)]
    if not found:
        raise ConfigError(f"{folder} holds no run: give a folder that `agentic-vision train` wrote, or one of several")
    return [TrainingRun.of(path) for path in found]


def groups_in(folder: Path, name: str) -> list[RunGroup]:
    """What a folder holds: one run, the seeds of one, several runs, or a sweep of such; none where there is no run.

    `name`: what a group is called that is all of the folder.
    """
    if is_run(folder):
        return [RunGroup(name, runs_in(folder))]
    places = [folder, *(path for path in _subfolders(folder) if not is_run(path))]
    groups = []
    for path in places:
        runs = [TrainingRun.of(below) for below in _subfolders(path) if is_run(below)]
        called = name if path is folder else path.name
        if len({frozenset(_but_seed(run)) for run in runs}) == 1:
            groups.append(RunGroup(called, runs))
        else:
            groups += [
                RunGroup(run.folder.name if path is folder else f"{called}/{run.folder.name}", [run]) for run in runs
            ]
    return groups


def _but_seed(run: TrainingRun) -> set[tuple[str, str]]:
    return {(name, value) for name, value in run.settings.items() if name not in ("seed", "steps")}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _settings(path: Path) -> dict[str, str]:
    """The recipe flat, its values as JSON; nothing where it is broken."""
    try:
        said: Any = json.loads(path.read_bytes())
        return dict(_flat(said if isinstance(said, dict) else {}, "")[:SETTINGS])
    except (OSError, ValueError, RecursionError):
        return {}


def _flat(said: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in said.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            text = value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((f"{prefix}{name}", text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"))
    return found
