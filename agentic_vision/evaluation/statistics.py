"""What a figure is worth: intervals of shares and means, and whether a paired difference is more than noise.

Intervals are at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Interval = tuple[float, float]

Z = 1.959964  # of a normal distribution, 95 % lie within so many standard deviations


def mean(values: Sequence[float]) -> float | None:
    """Their mean; None for none."""
    return math.fsum(values) / len(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None for none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def interval(values: Sequence[float]) -> Interval | None:
    """Of a mean of values from 0 to 1: Wilson's where all are 1 or 0, else the normal one; None for too few."""
    if all(value in (0, 1) for value in values):
        return wilson(round(math.fsum(values)), len(values))
    found = difference(values)
    return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


def wilson(successes: int, n: int) -> Interval | None:
    """Wilson's score interval at 95 % for a share (E. B. Wilson, JASA 1927); None for no trials.

    >>> tuple(round(bound, 3) for bound in wilson(90, 100))
    (0.826, 0.945)
    """
    if n == 0:
        return None
    share, denominator = successes / n, 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / denominator
    margin = Z / denominator * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # The share lies inside, rounding errors apart, which at 0 and 1 would put it outside.
    return max(0.0, min(share, centre - margin)), min(1.0, max(share, centre + margin))


def difference(values: Sequence[float]) -> Interval | None:
    """Of a mean, the normal interval; of paired differences, the interval of the difference.

    None for fewer than two values, which do not say how far they scatter.
    """
    n = len(values)
    if n < 2:
        return None
    middle = math.fsum(values) / n
    variance = math.fsum((value - middle) ** 2 for value in values) / (n - 1)
    margin = Z * math.sqrt(variance / n)
    return middle - margin, middle + margin


def sign_test(better: int, worse: int) -> float:
    """How probable it is that pairs which differ fall at least this unevenly by chance (two-sided, exact).

    On right and wrong answers this is McNemar's exact test (Q. McNemar, Psychometrika 1947).

    >>> sign_test(0, 5), sign_test(3, 3)
    (0.0625, 1.0)
    """
    n, fewer = better + worse, min(better, worse)
    # In logarithms: of some thousand pairs, the coefficients are beyond a float.
    ways = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, ways)))


def holm(probabilities: Sequence[float]) -> list[float]:
    """The probabilities adjusted for there being several of them (S. Holm, Scand. J. Statist. 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, most = [0.0] * len(probabilities), 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        most = max(most, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = most
    return adjusted
