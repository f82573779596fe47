"""The picture of training: the figures of `metrics.jsonl` against the steps, of one run or of several side by side.

A folder of runs (one a seed) is drawn as their mean, with a band from the lowest to the highest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.report.metrics import PANELS, Figures, curve
from agentic_vision.report.training_runs import runs_in

STYLES, KINDS = ("-", "--", ":"), ("all questions", "fine", "coarse")
COLOURS = ("#3273f6", "#e8590c", "#0a9b72", "#7f5af0", "#c2255c", "#b98300")
INK, SOFT = "#1d2129", "#8a93a3"


def draw_curves(folders: Sequence[Path], path: Path) -> Path:
    """Writes a PNG with a panel a figure: all questions solid, fine ones dashed, coarse ones dotted.

    Raises `ConfigError` without matplotlib, and where a folder holds no run.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("train", "Drawing curves") from error
    several = {folder: [run.lines for run in runs_in(folder) if run.lines] for folder in folders}
    figure = Figure(figsize=(4.4 * len(PANELS), 4.1), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(PANELS, 1):
        axes = figure.add_subplot(1, len(PANELS), number)
        for colour, (folder, runs) in zip(_cycled(len(several)), several.items(), strict=True):
            lines = list(zip((name for name, _ in panel.lines), STYLES, strict=False))
            for name, style in lines if len(several) < 4 else lines[:1]:
                _line(axes, runs, name, style, colour, folder.name.replace("_", " ") if style == "-" else None)
        axes.set_title(panel.title, loc="left", fontsize=10.5, color=INK)
        axes.set_xlabel("step", color=INK)
        axes.grid(axis="y", color="#eceef2", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if panel.share:
            axes.set_ylim(-0.02, 1.02)
    axes = figure.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    drawn = {line.get_linestyle() for panel in figure.axes for line in panel.get_lines()}
    kinds = {style: name for style, name in zip(STYLES, KINDS, strict=True) if style in drawn}
    styles = [axes.plot([], [], style, color=SOFT)[0] for style in kinds]
    figure.legend(
        [*handles, *styles],
        [*labels, *kinds.values()],
        loc="outside lower center",
        ncols=max(1, len(handles) + len(styles)),
        frameon=False,
        labelcolor=INK,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _line(axes: Any, runs: Sequence[Sequence[Figures]], name: str, style: str, colour: str, label: str | None) -> None:
    found = curve(runs, name)
    if found is None:
        return
    axes.plot(found.steps, found.means, style, color=colour, linewidth=1.6 if style == "-" else 1.1, label=label)
    if len(runs) > 1 and style == "-":
        axes.fill_between(found.steps, found.lows, found.highs, color=colour, alpha=0.16, linewidth=0)


def _cycled(n: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(n)]
