"""Where two strategies disagree most: pages to open, worst first.

A disagreement is a question that one gets right and the other wrong. The worst are those that the strategy broke, the
dearest first; then those that it mended, which show what its calls are good for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError, ImageError
from ..messages import Trajectory
from ..rows import Row
from ..trace import save_trace
from .outcomes import Outcome

FOLDER = "disagreements"
MOST = 8  # pages of each kind


def disagreements(
    ours: Mapping[str, Outcome], baseline: Mapping[str, Outcome]
) -> tuple[list[tuple[Outcome, Outcome]], list[tuple[Outcome, Outcome]]]:
    """Pairs that were broken, and pairs that were mended; those that spent most visual tokens first."""
    pairs = [(outcome, baseline[row]) for row, outcome in ours.items() if row in baseline]
    scored = [(a, b) for a, b in pairs if a.score is not None and b.score is not None]
    dearest = sorted(scored, key=lambda pair: (-pair[0].visual_tokens, pair[0].row))
    broken = [(a, b) for a, b in dearest if (a.score or 0) < (b.score or 0)]
    mended = [(a, b) for a, b in dearest if (a.score or 0) > (b.score or 0)]
    return broken, mended


def write_pages(
    outcomes: Sequence[Outcome],
    steps: Mapping[tuple[str, str], Trajectory],
    rows: Mapping[str, Row],
    folder: Path,
) -> dict[str, Path]:
    """A trace page for each outcome, by its row; those whose images have gone are left out.

    `steps`: the trajectories by row and strategy.
    """
    written: dict[str, Path] = {}
    for outcome in outcomes:
        row, trajectory = rows.get(outcome.row), steps.get((outcome.row, outcome.strategy))
        if row is None or trajectory is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{outcome.strategy}-{outcome.row}"
        # Names may differ in odd letters alone.
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{digest}.html"
        try:
            written[outcome.row] = save_trace(trajectory, row.images, path)
        except (ImageError, ConfigError):
            continue
    return written
