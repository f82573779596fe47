"""Where two strategies disagree most: pages to open, worst first.

A disagreement is a question that one gets right and the other wrong. The worst are those that the strategy broke, the
dearest first; then those that it mended, which show what its calls are good for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ..errors import ConfigError, ImageError
from ..messages import Trajectory
from ..rows import Row
from ..trace import trace_html
from ..whole_file import write_whole
from .outcomes import Outcome
from .paired import pairs

FOLDER = "disagreements"
MOST = 8  # pages of each kind


def disagreements(
    ours: Mapping[str, Outcome], baseline: Mapping[str, Outcome]
) -> tuple[list[tuple[Outcome, Outcome]], list[tuple[Outcome, Outcome]]]:
    """Pairs that were broken, and pairs that were mended; those that spent most visual tokens first."""
    dearest = sorted(pairs(ours, baseline), key=lambda pair: (-pair[0].visual_tokens, pair[0].row))
    broken = [(a, b) for a, b in dearest if (a.score or 0) < (b.score or 0)]
    mended = [(a, b) for a, b in dearest if (a.score or 0) > (b.score or 0)]
    return broken, mended


def write_pages(
    pairs: Sequence[tuple[Outcome, Outcome]],
    steps: Mapping[tuple[str, str], Trajectory],
    rows: Mapping[str, Row],
    folder: Path,
    back: str,
) -> dict[str, Path]:
    """A trace page for each pair's first outcome, by its row; those whose images have gone are left out.

    `steps`: the trajectories by row and strategy. `back`: the address of the page that links to these.
    """
    written: dict[str, Path] = {}
    for outcome, other in pairs:
        row, trajectory = rows.get(outcome.row), steps.get((outcome.row, outcome.strategy))
        if row is None or trajectory is None:
            continue
        try:
            page = trace_html(trajectory, row.images, _beside(outcome, other, back))
        except (ImageError, ConfigError):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{outcome.strategy}-{outcome.row}"
        # Names may differ in odd letters alone.
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{digest}.html"
        write_whole(path, page.encode("utf-8", "replace"))
        written[outcome.row] = path
    return written


def _beside(outcome: Outcome, other: Outcome, back: str) -> str:
    """What the answer should have been, what the other strategy said, and the way back."""
    references = escape(" / ".join(outcome.references))
    said = "gave no answer" if other.answer is None else f'said <b dir="auto">{escape(other.answer)}</b>'
    return (
        f'<p class="note">It should be <b dir="auto">{references}</b>; <i>{escape(other.strategy)}</i> {said}. '
        f'<a href="{escape(back)}">Back to the report</a></p>'
    )
