"""The picture of training: the figures of `metrics.jsonl` against the steps, of one run or of several side by side.

A folder of runs (one a seed) is drawn as their mean, with a band from the lowest to the highest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError

from .run_folder import Figures, read_metrics

PANELS: dict[str, tuple[tuple[str, str], ...]] = {
    "Call ratio": (("call_ratio", "-"), ("call_ratio_fine", "--"), ("call_ratio_coarse", ":")),
    "Accuracy": (("accuracy", "-"), ("accuracy_fine", "--"), ("accuracy_coarse", ":")),
    "Visual tokens / full resolution": (
        ("visual_tokens_ratio", "-"),
        ("visual_tokens_ratio_fine", "--"),
        ("visual_tokens_ratio_coarse", ":"),
    ),
    "Reward": (("reward", "-"),),
}
COLOURS = ("#3273f6", "#e8590c", "#0a9b72", "#7f5af0", "#c2255c", "#b98300")
INK, SOFT = "#1d2129", "#8a93a3"
SMOOTHED = 8  # steps: a step's few groups say little by themselves


def draw_curves(folders: Sequence[Path], path: Path) -> Path:
    """Writes a PNG with a panel a figure: all questions solid, fine ones dashed, coarse ones dotted.

    Raises `ConfigError` without matplotlib, and where a folder holds no run.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("train", "Drawing curves") from error
    several = {folder: runs_in(folder) for folder in folders}
    figure = Figure(figsize=(4.4 * len(PANELS), 4.1), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, lines) in enumerate(PANELS.items(), 1):
        axes = figure.add_subplot(1, len(PANELS), number)
        for colour, (folder, runs) in zip(_cycled(len(several)), several.items(), strict=True):
            for name, style in lines if len(lines) == 1 or len(several) < 4 else lines[:1]:
                _line(axes, runs, name, style, colour, folder.name.replace("_", " ") if style == "-" else None)
        axes.set_title(title, loc="left", fontsize=10.5, color=INK)
        axes.set_xlabel("step", color=INK)
        axes.grid(axis="y", color="#eceef2", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if title != "Reward":
            axes.set_ylim(-0.02, 1.02)
    axes = figure.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    styles = [axes.plot([], [], style, color=SOFT)[0] for style in ("-", "--", ":")]
    figure.legend(
        [*handles, *styles],
        [*labels, "all questions", "fine", "coarse"],
        loc="outside lower center",
        ncols=len(handles) + 3,
        frameon=False,
        labelcolor=INK,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def runs_in(folder: Path) -> list[list[Figures]]:
    """The runs of a folder: its own, or those of its subfolders. Raises `ConfigError` where there is none."""
    found = [read_metrics(path) for path in (folder / "metrics.jsonl", *sorted(folder.glob("*/metrics.jsonl")))]
    runs = [run for run in found if run]
    if not runs and not (folder / "recipe.json").exists():
        raise ConfigError(f"{folder} holds no run: give a folder that `agentic-vision train` wrote, or one of several")
    return runs


def smoothed(values: Sequence[float], over: int = SMOOTHED) -> list[float]:
    """Each value's mean with the `over` - 1 before it."""
    windows = [values[max(0, end - over) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def _line(axes: Any, runs: Sequence[Sequence[Figures]], name: str, style: str, colour: str, label: str | None) -> None:
    lines: list[dict[int, float]] = []
    for run in runs:
        told = [(int(line["step"]), line[name]) for line in run if name in line]
        lines.append(dict(zip([step for step, _ in told], smoothed([value for _, value in told]), strict=True)))
    steps = sorted(set.intersection(*(set(line) for line in lines))) if lines else []
    if not steps:
        return
    means = [sum(line[step] for line in lines) / len(lines) for step in steps]
    axes.plot(steps, means, style, color=colour, linewidth=1.6 if style == "-" else 1.1, label=label)
    if len(lines) > 1 and style == "-":
        low, high = ([edge(line[step] for line in lines) for step in steps] for edge in (min, max))
        axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)


def _cycled(n: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(n)]
