"""The picture of a training run: each figure of `metrics.jsonl` against the steps, drawn anew as the run goes on."""

from __future__ import annotations

import json
from pathlib import Path

from agentic_vision.errors import ConfigError

PANELS = {
    "What stands in a cell": ("chars", "ordinals", "color", "shape", "answers"),
    "What a question finds": ("keys_recall", "keys_precision", "areas_recall", "sides"),
    "Coarse answers": ("coarse_glance", "coarse_full"),
    "Fine answers": ("fine_alone", "fine_crop", "fine_full"),
    "Boxes within two steps": ("box",),
}


def draw_curves(folder: Path) -> Path:
    """Writes `curves.png` beside the run's `metrics.jsonl`; stages follow one another along the steps.

    Raises `ConfigError` without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("train", "Drawing curves") from error
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    starts: dict[str, int] = {}
    at, before = [], 0
    for line in lines:
        start = starts.setdefault(line["stage"], before)
        before = start + line["step"]
        at.append(before)
    figure = Figure(figsize=(4.2 * len(PANELS), 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, names) in enumerate(PANELS.items(), 1):
        axes = figure.add_subplot(1, len(PANELS), number)
        for name in names:
            points = [(x, line[name]) for x, line in zip(at, lines, strict=True) if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
        for stage, start in starts.items():
            axes.axvline(start, color="#c0c4cc", linewidth=0.8)
            axes.text(start, 1.02, f" {stage}", fontsize=7, color="#7b8794")
        axes.set_title(title, loc="left", fontsize=10, pad=14)
        axes.set_ylim(0, 1)
        axes.set_xlim(0, max(at, default=1))
        axes.set_xlabel("step")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False, loc="lower right")
    path = folder / "curves.png"
    figure.savefig(path)
    return path
