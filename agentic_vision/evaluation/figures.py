"""How is a figure said? In %, with its interval, on the terminal and on the page alike."""

from __future__ import annotations

from ..cli_output import plain
from .compare import Change
from .statistics import Interval
from .summary import Summary


def percent(share: float | None, interval: Interval | None = None) -> str:
    """A share, with its interval where there is one; a dash for None."""
    if share is None:
        return "-"
    return f"{100 * share:.1f}" + (f" [{100 * interval[0]:.0f}-{100 * interval[1]:.0f}]" if interval else "")


def signed(difference: float, interval: Interval | None) -> str:
    """A difference in points, with its interval where there is one."""
    return f"{100 * difference:+.1f}" + (
        f" [{100 * interval[0]:+.1f} {100 * interval[1]:+.1f}]" if interval is not None else ""
    )


def course(change: Change) -> str:
    """A share before and after, with a star where they differ."""
    return f"{100 * change.before:.1f} -> {100 * change.after:.1f}{' *' if change.clear else ''}"


def number(value: float | None) -> str:
    """Three digits of it; a dash for None."""
    return "-" if value is None else f"{value:.3g}"


def troubles(summary: Summary) -> list[str]:
    """What has no score, a line each; none where all is well."""
    lines = [
        f"{plain(name)}: {count:,} {trouble.replace('_', ' ')}, not scored: the same command tries them again"
        + (f" (the first: {plain(scores.first_trouble[trouble])})" if trouble in scores.first_trouble else "")
        for name, scores in summary.strategies.items()
        for trouble, count in scores.trouble.items()
    ]
    if summary.faults:
        first = summary.faults[0]
        lines.append(
            f"rows of the data that cannot be used: {len(summary.faults):,}, the first in line {first.line} "
            f"({plain(first.reason)})"
        )
    return lines
