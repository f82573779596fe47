"""What did training say of its steps? The lines of a `metrics.jsonl`, as far as they are whole, and curves of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = dict[str, float]
LARGEST = 1e30  # of what is drawn: sums of larger numbers are none any more
LAST_STEP = 10**12
SMOOTHED = 8  # steps: a step's few groups say little by themselves


@dataclass(frozen=True)
class Panel:
    """What is drawn in one frame: the names of figures with what each is called there.

    `share`: whether they are shares, from 0 to 1; `better`: 1 where more is better, -1 where less is, 0 where neither.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    share: bool = False
    better: int = 0


def _by_kind(title: str, name: str, better: int) -> Panel:
    kinds = (("", "all"), ("_fine", "fine"), ("_coarse", "coarse"))
    return Panel(title, tuple((f"{name}{suffix}", kind) for suffix, kind in kinds), True, better)


PANELS = (
    _by_kind("Call ratio", "call_ratio", 0),
    _by_kind("Accuracy", "accuracy", 1),
    _by_kind("Visual tokens / full resolution", "visual_tokens_ratio", -1),
    Panel("Reward", (("reward", "all"),), better=1),
)
"""What a run is about: each by the kind of question, all of them first."""


def read_metrics(path: Path) -> tuple[list[Figures], int]:
    """The lines of a `metrics.jsonl`, a step each, and how many are broken; none where there is no such file.

    A last line without its end is being written, or a kill cut it short: it is left out, and no broken one.
    """
    if not path.exists():
        return [], 0
    lines = [line for line in path.read_bytes().split(b"\n")[:-1] if line.strip()]
    told = [figures for line in lines if (figures := _figures(line)) is not None]
    return told, len(lines) - len(told)


def _figures(line: bytes) -> Figures | None:
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    found: Figures = {str(name): value for name, value in said.items() if _is_number(value)}
    return found if abs(found.get("step", math.nan)) <= LAST_STEP else None


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def smoothed(values: Sequence[float], over: int = SMOOTHED) -> list[float]:
    """Each value's mean with the `over` - 1 before it."""
    windows = [values[max(0, end - over) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


@dataclass(frozen=True)
class Curve:
    """A figure against the steps: the smoothed mean of several runs, and the lowest and highest of them.

    `raw`: the values as they were told, where there is one run alone.
    """

    steps: list[float]
    means: list[float]
    lows: list[float]
    highs: list[float]
    raw: list[float] | None


def curve(runs: Sequence[Sequence[Figures]], name: str) -> Curve | None:
    """The curve of a figure, over the steps that all runs which tell of it have; None where none does."""
    raws = [_told(run, name) for run in runs]
    raws = [raw for raw in raws if raw]
    lines = [dict(zip(raw, smoothed(list(raw.values())), strict=True)) for raw in raws]
    steps = sorted(set.intersection(*map(set, lines))) if lines else []
    if not steps:
        return None
    at = [[line[step] for line in lines] for step in steps]
    raw = [raws[0][step] for step in steps] if len(raws) == 1 else None
    return Curve(steps, [sum(values) / len(values) for values in at], list(map(min, at)), list(map(max, at)), raw)


def _told(run: Sequence[Figures], name: str) -> dict[float, float]:
    """A figure by its step; where a step was done twice, as it was told last."""
    told = {line["step"]: float(line[name]) for line in run if abs(line.get(name, math.nan)) < LARGEST}
    return dict(sorted(told.items()))
