"""How is a curve drawn? As SVG in the colours of the page, with the values of a step where the pointer rests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ..page import MARKS, mark
from .metrics import Curve

WIDTH, HEIGHT = 400, 214
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24  # around the plot
MOST = 240  # points of a line: more are not told apart
RESTS = 90  # places along the steps that tell their values
DASHES = ("", "7 3", "2 3")  # for what has the colour of another


@dataclass(frozen=True)
class Line:
    """A curve and what it is called; its `number`, from 1, gives it its colour."""

    name: str
    number: int
    curve: Curve

    @property
    def dash(self) -> str:
        """How it is dashed, to be told from another of its colour."""
        return DASHES[(self.number - 1) // MARKS % len(DASHES)]

    @property
    def style(self) -> str:
        """Its colour and dash, as CSS."""
        return f"--mark:{mark(self.number)}" + (f";stroke-dasharray:{self.dash}" if self.dash else "")


def chart(title: str, lines: Sequence[Line], *, share: bool = False, better: int = 0) -> str:
    """A figure: the plot, and a key with the first, the last and the best value of every line.

    `share`: the values are shares, in %; `better`: 1 where more is better, -1 where less is.
    """
    low, high, ticks = _scale([line.curve for line in lines], share=share)
    first = min(line.curve.steps[0] for line in lines)
    last = max(line.curve.steps[-1] for line in lines)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((step - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    parts = [
        f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{said(tick, share=share)}</text>'
        for tick in ticks
    ]
    parts += [
        f'<text x="{x(step):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{step:g}</text>' for step in _steps(first, last)
    ]
    for line in lines:
        found, places = line.curve, range(0, len(line.curve.steps), -(-len(line.curve.steps) // MOST))
        if found.highs != found.lows:
            edge = [(x(found.steps[i]), y(found.highs[i])) for i in places]
            edge += [(x(found.steps[i]), y(found.lows[i])) for i in reversed(places)]
            parts.append(f'<path class="band" style="{line.style}" d="{_path(edge)}Z"/>')
        if found.raw is not None and len(lines) == 1:
            raw = _path([(x(found.steps[i]), y(min(high, max(low, found.raw[i])))) for i in places])
            parts.append(f'<path class="raw" style="{line.style}" d="{raw}"/>')
        points = [(x(found.steps[i]), y(found.means[i])) for i in places]
        if len(points) == 1:
            parts.append(f'<circle style="{line.style}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3.5"/>')
        parts.append(f'<path class="curve" style="{line.style}" d="{_path(points)}"/>')
    parts += _rests(lines, x, share=share)
    told = "; ".join(f"{line.name} {_course(line.curve, share=share)}" for line in lines)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title} against steps: {told}")}">'
        f"{''.join(parts)}</svg>{_key(lines, share=share, better=better)}</figure>"
    )


def said(value: float, *, share: bool) -> str:
    """A value in words: shares in %."""
    if share:
        return f"{100 * value:.3g} %" if abs(value) < 10 else f"{value:.3g}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def best(found: Curve, better: int) -> tuple[float, float] | None:
    """The step and the value of the best smoothed mean; None where neither more nor less is better."""
    if not better:
        return None
    value, step = max(zip((better * mean for mean in found.means), found.steps, strict=True), key=lambda pair: pair[0])
    return step, better * value


def _key(lines: Sequence[Line], *, share: bool, better: int) -> str:
    items = []
    for line in lines:
        top = best(line.curve, better)
        noted = f"{'best' if better > 0 else 'low'} {said(top[1], share=share)}, step {top[0]:g}" if top else ""
        swatch = (
            f'<svg viewBox="0 0 22 8" aria-hidden="true"><path class="curve" style="{line.style}" d="M1 4H21"/></svg>'
        )
        items.append(
            f'<li>{swatch}<span class="name">{escape(line.name)}</span> '
            f'<b>{_course(line.curve, share=share)}</b> <span class="soft">{noted}</span></li>'
        )
    return f'<ul class="key">{"".join(items)}</ul>'


def _course(found: Curve, *, share: bool) -> str:
    first, last = (said(found.means[at], share=share) for at in (0, -1))
    if last.endswith(" %"):
        first = first.removesuffix(" %")
    return f"{first} → {last}" if len(found.means) > 1 else last


def _rests(lines: Sequence[Line], x: Callable[[float], float], *, share: bool) -> list[str]:
    """Strips along the steps, each of which tells the values there."""
    steps = sorted({step for line in lines for step in line.curve.steps})
    steps = steps[:: -(-len(steps) // RESTS)]
    values = [(line.name, dict(zip(line.curve.steps, line.curve.means, strict=True))) for line in lines]
    width = (WIDTH - LEFT - RIGHT) / max(1, len(steps) - 1)
    strips = []
    for step in steps:
        told = [f"{name}: {said(by_step[step], share=share)}" for name, by_step in values if step in by_step]
        text = escape("\n".join([f"step {step:g}", *told]))
        strips.append(
            f'<g class="rest"><rect x="{x(step) - width / 2:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/><path d="M{x(step):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
            f"<title>{text}</title></g>"
        )
    return strips


def _scale(curves: Sequence[Curve], *, share: bool) -> tuple[float, float, list[float]]:
    """The lowest and the highest value of the plot, and its ticks."""
    low, high = min(min(found.lows) for found in curves), max(max(found.highs) for found in curves)
    if share and low >= 0 and high <= 1:
        return -0.02, 1.02, [0, 0.25, 0.5, 0.75, 1]
    if len(curves) == 1 and curves[0].raw is not None:
        low, high = min(low, *curves[0].raw), max(high, *curves[0].raw)
    gap = _round((high - low) / 4 or abs(high) / 2 or 1.0)
    if not math.isfinite(gap) or gap == 0:  # figures near the ends of what a number can be
        return low, high if high > low else low + 1, []
    low, high = gap * math.floor(low / gap), gap * math.ceil(high / gap)
    if high == low:
        high = low + gap
    count = round((high - low) / gap)
    return low, high, [low + gap * number for number in range(min(count, 8) + 1)]


def _steps(first: float, last: float) -> list[float]:
    gap = max(1.0, _round((last - first) / 4 or 1.0))
    if not math.isfinite(gap):
        return [first, last]
    start = gap * math.ceil(first / gap)
    found = [start + gap * number for number in range(8) if start + gap * number <= last]
    return found if len(found) > 1 else sorted({first, last})


def _round(gap: float) -> float:
    """The next of 1, 2, 5, 10 ..., at any scale."""
    if not math.isfinite(gap) or gap <= 0:
        return math.nan
    power = 10.0 ** math.floor(math.log10(gap))
    return next((power * digit for digit in (1, 2, 2.5, 5) if power * digit >= gap), 10 * power)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
