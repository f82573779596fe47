"""The pictures of an evaluation: accuracy against visual tokens, and how often each scene made the agent call.

Needs the extra `eval` (matplotlib), which nothing else does.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .planner import Law, Point
from .scores import StrategyScores
from .statistics import Interval
from .summary import Summary

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
    "fastv": ("#c2255c", "<"),
    "visiondrop": ("#1098ad", ">"),
    "todre": ("#5c940d", "h"),
}
OTHERS = (("#862e9c", "X"), ("#087f5b", "d"), ("#a61e4d", "p"), ("#364fc7", "H"))
LONGEST_NAME = 48  # characters on a plot
INK, SOFT, GRID, STAIRS = "#1d2129", "#8a93a3", "#e6e8ec", "#c9ced6"
ON_A_PAGE = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", STAIRS: "var(--line)"}


def plot_accuracy(summary: Summary, path: str | os.PathLike[str]) -> Path:
    """Write a PNG of `draw_accuracy`. Raises `ConfigError` where matplotlib is missing or `path` cannot be written."""
    return saved(draw_accuracy(summary), path)


def draw_accuracy(summary: Summary) -> Any:
    """A figure with a panel for all, coarse and fine questions: accuracy against visual tokens.

    Bars are 95 % intervals; a line joins the shares of one strategy (`resize:0.25`, `resize:0.5`), and the grey stairs
    are the Pareto front. Raises `ConfigError` where matplotlib is not installed.
    """
    panels = [
        panel
        for panel in PANELS
        if any(_accuracy(scores, panel[1]) is not None for scores in summary.strategies.values())
    ]
    figure = blank(1 + 4 * max(1, len(panels)), 4.4)
    marks = _marks(summary.strategies)
    for number, (title, suffix) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        _panel(axes, summary, suffix, marks)
        axes.set_title(title, loc="left", fontsize=10.5, color=INK)
        axes.set_xlabel("visual tokens / full resolution", color=INK)
        if number == 0:
            axes.set_ylabel("accuracy", color=INK)
    shown = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True)) if figure.axes else {}
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=max(1, min(8, len(shown))),
        frameon=False,
        labelcolor=INK,
    )
    return figure


def plot_scenes(summary: Summary, path: str | os.PathLike[str]) -> Path | None:
    """Write a PNG of `draw_scenes`; None, and no file, where it has nothing. Raises as `plot_accuracy` does."""
    figure = draw_scenes(summary)
    return None if figure is None else saved(figure, path)


def draw_scenes(summary: Summary) -> Any | None:
    """A figure with a bar a scene: how often `agent` (else the first strategy with calls) called a tool in it.

    None where the rows have no scenes or nothing was called. Raises as `draw_accuracy` does.
    """
    calling = [name for name, scores in summary.strategies.items() if scores.call_ratio and scores.scenes]
    if not calling:
        return None
    name = "agent" if "agent" in calling else calling[0]
    scenes = sorted(summary.strategies[name].scenes.items(), key=lambda item: item[1].call_ratio or 0.0)
    figure = blank(7.2, 1.2 + 0.34 * len(scenes))
    axes = figure.add_subplot()
    places = range(len(scenes))
    drawn = axes.barh(places, [scores.call_ratio or 0.0 for _, scores in scenes], color=MARKS["agent"][0])
    axes.set_yticks(places, [_shown(scene) for scene, _ in scenes])
    right = ["" if scores.accuracy is None else f", {scores.accuracy:.0%} right" for _, scores in scenes]
    labels = [
        f" {scores.call_ratio or 0:.0%} of {scores.n}{said}" for (_, scores), said in zip(scenes, right, strict=True)
    ]
    axes.bar_label(drawn, labels, fontsize=9, color=INK)
    axes.set_xlim(0, 1.4)  # room for the labels of bars; what is measured ends at 1
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("questions with a call", color=INK, loc="left")
    axes.set_title(f"{_shown(name)}: calls by scene", loc="left", fontsize=10.5, color=INK)
    _frame(axes)
    axes.spines["bottom"].set_bounds(0, 1)
    return figure


def draw_law(points: Sequence[Point], law: Law, others: Sequence[Point]) -> Any:
    """A figure: the points that a law was fitted to, its curve, and other settings to compare with.

    Raises as `draw_accuracy` does.
    """
    figure = blank(6.4, 4.2)
    axes = figure.add_subplot()
    shares = [number / 100 for number in range(2, 101)]
    label = f"error = {law.a:.2g} t^-{law.b:.2g} + {law.d:.2g}"
    axes.plot(shares, [law.accuracy(share) for share in shares], color=MARKS["resize"][0], lw=1.4, label=label)
    for kind, marked, found in (("measured", "resize", points), ("other settings", "agent", others)):
        colour, marker = MARKS[marked]
        axes.plot([p.tokens for p in found], [p.accuracy for p in found], marker, color=colour, label=kind, ms=8)
        # Of the others, those that no other one beats: names of all of them would lie on one another.
        best = front((point.tokens, point.accuracy) for point in [*points, *others])
        for point in found if found is points else [p for p in found if (p.tokens, p.accuracy) in best]:
            axes.annotate(
                _shown(point.name),
                (point.tokens, point.accuracy),
                (6, -10),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )
    axes.set(xlim=(0, 1.06), ylim=(-0.04, 1.06), xlabel="visual tokens / full resolution", ylabel="accuracy")
    axes.legend(frameon=False, loc="lower right", labelcolor=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    _frame(axes)
    return figure


def blank(width: float, height: float) -> Any:
    """An empty figure of so many inches. Raises `ConfigError` where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("eval", "The plot") from error
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure. Raises `ConfigError` where `path` cannot be written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters that the font lacks
            figure.savefig(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write the plot to {path} ({error.strerror}): give a folder that is yours to write"
        ) from error
    return Path(path)


def inline(figure: Any, name: str) -> str:
    """A figure as SVG to stand in a page, in the page's colours; `name` tells it, for who cannot see it too."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    # What is text has no "<": these patterns find tags alone. Rules for everything on the page are none of a plot's.
    svg = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL
    )
    svg = re.sub(r'<g id="[a-z]+[0-9._a-z]*">', "<g>", svg)
    for colour, variable in ON_A_PAGE.items():
        svg = re.sub(rf"((?:fill|stroke): ){colour}", rf"\1{variable}", svg)
    box = re.search(r'viewBox="[0-9. ]+"', svg)
    drawn = svg[svg.index(">") + 1 :]
    return f'<svg class="plot {name}" {box[0] if box else ""} role="img" aria-label="{name}">{drawn}'


def _shown(name: str) -> str:
    """A name as text alone: matplotlib reads what stands between dollars as a formula."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name[:LONGEST_NAME])
    return printable.replace("$", r"\$")


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (tokens, accuracy) that no other one beats in both, by tokens."""
    best: list[tuple[float, float]] = []
    for tokens, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((tokens, accuracy))
    return best


def _kind(name: str) -> str:
    """What strategies that differ in their share alone have in common."""
    way, _, pruned = name.partition("+")
    method = pruned.partition(":")[0]
    bare = way if ":" in way and way.split(":")[0] not in MARKS else way.split(":")[0]
    return f"{bare}+{method}" if method else bare


def _marks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for every kind of strategy."""
    others = iter(OTHERS * 100)
    marks: dict[str, tuple[str, str]] = {}
    for kind in dict.fromkeys(map(_kind, names)):
        method = kind.partition("+")[2]
        if method and kind != f"full+{method}" and method in MARKS:  # a composition: the method's shape, another colour
            marks[kind] = next(others)[0], MARKS[method][1]
        else:
            marks[kind] = MARKS.get(method or kind) or next(others)
    return marks


def _panel(axes: Any, summary: Summary, suffix: str, marks: dict[str, tuple[str, str]]) -> None:
    """A point a strategy, with its interval."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, scores in summary.strategies.items():
        accuracy, ratio = _accuracy(scores, suffix), getattr(scores, f"visual_tokens_ratio{suffix}")
        if accuracy is None or ratio is None:
            continue
        points.setdefault(_kind(name), []).append((ratio, accuracy))
        low, high = _interval(scores, suffix) or (accuracy, accuracy)
        colour, marker = marks[_kind(name)]
        axes.errorbar(
            ratio,
            accuracy,
            yerr=[[accuracy - low], [high - accuracy]],
            fmt=marker,
            color=colour,
            label=_shown(_kind(name)),
            ms=11 if marker == "*" else 8,
            alpha=0.85,
            capsize=3,
            lw=1.4,
            zorder=3,
        )
    for kind, found in points.items():
        if len(found) > 1:
            axes.plot(*zip(*sorted(found), strict=True), color=marks[kind][0], lw=1, alpha=0.6)
    best = front(point for found in points.values() for point in found)
    axes.step(*zip(*best, strict=True), where="post", color=STAIRS, lw=4, zorder=1) if best else None
    axes.set_xlim(0, 1.06 * max([1.0, *(ratio for found in points.values() for ratio, _ in found)]))
    axes.set_ylim(-0.04, 1.06)
    _frame(axes)


def _frame(axes: Any) -> None:
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)


def _accuracy(scores: StrategyScores, suffix: str) -> float | None:
    value: float | None = getattr(scores, f"accuracy{suffix}")
    return value


def _interval(scores: StrategyScores, suffix: str) -> Interval | None:
    value: Interval | None = getattr(scores, f"accuracy{suffix}_interval")
    return value
