"""How many visual tokens does an accuracy take? A law fitted to what was measured, and the cheapest setting by it.

"Inference Optimal VLMs Need Fewer Visual Tokens and More Parameters" (Li et al., ICLR 2025, arXiv 2411.03312) finds
that the error of a VLM falls with the size N of its language model and the number T of its input tokens as
A / N^alpha * B / T^beta + D; where the text is cached, T is the visual tokens alone. Of one model N is constant:
error(t) = a * t^-b + d, with t the share of the visual tokens of full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

FLOORS = 200  # values of d that are tried
STEEPEST = 50.0  # b: a law that is steeper is a step, and beyond a float at a small share
NEEDED = 3  # points at different shares, for three unknowns


class Point(BaseModel):
    """One measured setting: `tokens` is the share of the visual tokens of full resolution; `n` questions."""

    model_config = ConfigDict(frozen=True)

    name: str
    tokens: float
    accuracy: float
    n: int


class Law(BaseModel):
    """error(t) = a * t^-b + d. `residual`: the root of the mean squared error of the fit, in accuracy."""

    model_config = ConfigDict(frozen=True)

    a: float
    b: float
    d: float
    residual: float

    def accuracy(self, tokens: float) -> float:
        """At a share of the visual tokens, kept between 0 and 1."""
        return min(1.0, max(0.0, 1 - self.a * math.pow(tokens, -self.b) - self.d))

    def tokens(self, accuracy: float) -> float | None:
        """The share of the visual tokens that an accuracy takes; None where none does, full resolution included."""
        left = 1 - accuracy - self.d
        if left <= 0 or self.a > left:  # at full resolution, more than `a` is out of reach
            return None
        # In logarithms: of a law that is nearly flat, 1 / b is beyond a float.
        return math.exp(math.log(self.a / left) / self.b) if self.a and self.b else 0.0


def fit(points: Sequence[Point]) -> Law | None:
    """The law that fits best by least squares, each point weighing as its questions; None for too few points.

    For every d that is tried, a and b follow from a line through the logarithms; the best of all is taken.
    """
    if len({round(point.tokens, 6) for point in points}) < NEEDED:
        return None
    errors = [1 - point.accuracy for point in points]
    lowest = min(errors)
    best: Law | None = None
    for step in range(FLOORS):
        floor = lowest * step / FLOORS
        law = _line(points, [max(error - floor, 1e-4) for error in errors], floor)
        if best is None or law.residual < best.residual:
            best = law
    return best


def _line(points: Sequence[Point], above: Sequence[float], floor: float) -> Law:
    # A point's weight is that of its error in accuracy: a logarithm exaggerates the small ones.
    weights = [point.n * error**2 for point, error in zip(points, above, strict=True)]
    xs, ys = [math.log(point.tokens) for point in points], [math.log(error) for error in above]
    total = math.fsum(weights)
    x0 = math.fsum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y0 = math.fsum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = math.fsum(w * (x - x0) ** 2 for w, x in zip(weights, xs, strict=True))
    slope = math.fsum(w * (x - x0) * (y - y0) for w, x, y in zip(weights, xs, ys, strict=True)) / spread
    b = min(STEEPEST, max(0.0, -slope))  # more tokens do not make it worse
    law = Law(a=math.exp(y0 + b * x0), b=b, d=floor, residual=0.0)
    squares = math.fsum(p.n * (law.accuracy(p.tokens) - p.accuracy) ** 2 for p in points)
    return law.model_copy(update={"residual": math.sqrt(squares / sum(p.n for p in points))})


def cheapest(points: Sequence[Point], target: float) -> Point | None:
    """The measured setting that reaches an accuracy with the fewest visual tokens; None where none does."""
    enough = [point for point in points if point.accuracy >= target]
    return min(enough, key=lambda point: point.tokens, default=None)
