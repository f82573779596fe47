"""The picture of an evaluation: accuracy against visual tokens, a point a strategy.

Needs the extra `eval` (matplotlib), which nothing else does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .run import Summary
from .scores import Interval, Scores

PANELS = (
    ("All questions", ""),
    ("Coarse: a glance is enough", "_coarse"),
    ("Fine: the detail is lost at a glance", "_fine"),
)
# A colour and a shape for each: several strategies often lie on nearly the same point.
MARKS = {
    "glance": ("#7b8794", "v"),
    "full": ("#1d2129", "^"),
    "resize": ("#b98300", "s"),
    "right_crop": ("#3273f6", "D"),
    "random": ("#7f5af0", "P"),
    "agent": ("#e8590c", "o"),
    "oracle": ("#0a9b72", "*"),
}
INK, SOFT = "#1d2129", "#8a93a3"


def plot_accuracy(summary: Summary, path: str | os.PathLike[str]) -> Path:
    """Write a PNG with a panel for all, coarse and fine questions; bars are Wilson's 95 % intervals.

    Raises `ConfigError` where matplotlib is not installed or `path` cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("eval", "The plot") from error
    panels = [
        panel
        for panel in PANELS
        if any(_accuracy(scores, panel[1]) is not None for scores in summary.strategies.values())
    ]
    figure = Figure(figsize=(1 + 4 * max(1, len(panels)), 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, suffix) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        _panel(axes, summary, suffix)
        axes.set_title(title, loc="left", fontsize=10.5, color=INK)
        axes.set_xlabel("visual tokens / full resolution", color=INK)
        if number == 0:
            axes.set_ylabel("accuracy", color=INK)
    handles, labels = figure.axes[0].get_legend_handles_labels() if figure.axes else ([], [])
    figure.legend(handles, labels, loc="outside lower center", ncols=len(MARKS), frameon=False, labelcolor=INK)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write the plot to {path} ({error.strerror}): give a folder that is yours to write"
        ) from error
    return Path(path)


def _panel(axes: Any, summary: Summary, suffix: str) -> None:
    """One point a strategy, with its interval."""
    dearest = 1.0
    for name, scores in summary.strategies.items():
        accuracy, ratio = _accuracy(scores, suffix), getattr(scores, f"visual_tokens_ratio{suffix}")
        if accuracy is None or ratio is None:
            continue
        dearest = max(dearest, ratio)
        low, high = _interval(scores, suffix) or (accuracy, accuracy)
        colour, marker = MARKS[name]
        axes.errorbar(
            ratio,
            accuracy,
            yerr=[[accuracy - low], [high - accuracy]],
            fmt=marker,
            color=colour,
            label=name,
            ms=11 if marker == "*" else 8,
            alpha=0.85,
            capsize=3,
            lw=1.4,
        )
    axes.set_xlim(0, 1.06 * dearest)
    axes.set_ylim(-0.04, 1.06)
    axes.grid(color="#e6e8ec", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)


def _accuracy(scores: Scores, suffix: str) -> float | None:
    value: float | None = getattr(scores, f"accuracy{suffix}")
    return value


def _interval(scores: Scores, suffix: str) -> Interval | None:
    value: Interval | None = getattr(scores, f"accuracy{suffix}_interval")
    return value
