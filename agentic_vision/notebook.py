"""What does a result look like in a notebook? The trace in brief: `result_html`, which `Result._repr_html_` returns.

The answer, its cost and the picture with its windows, and the timeline to be opened. It is about as wide as it is given
room; its styles hold for itself alone, and it follows the notebook's theme (JupyterLab, VS Code, Colab), or else the
reader's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape

from .errors import AgenticVisionError
from .messages import Trajectory
from .page import style
from .source import ImageLike, Source
from .trace import answer_html, budget_html
from .trace_pictures import Pictures
from .trace_steps import timeline_html

SCOPE = "agentic-vision"  # the class of a result's outermost element
PICTURE_BYTES = 600_000  # of all pictures: notebooks keep every output that they show


def result_html(trajectory: Trajectory, images: Sequence[ImageLike | Source]) -> str:
    """The result as HTML to be put into another page. Without its pictures, and saying why, where an image has gone.

    `images` are the question's own, in their order.
    """
    # Several results stand on one page: what is linked inside must not lead to another.
    prefix = f"av{hashlib.sha256(trajectory.model_dump_json().encode('utf-8', 'replace')).hexdigest()[:10]}-"
    try:
        return _html(Pictures(trajectory, trajectory.open_sources(images), PICTURE_BYTES, prefix), "")
    except AgenticVisionError as error:
        note = f'<p class="note">Without its pictures: {escape(str(error))}</p>'
        return _html(Pictures(trajectory, None, 0, prefix), note)


def _html(pictures: Pictures, note: str) -> str:
    trajectory = pictures.trajectory
    turns, views = len(trajectory.turns), len(trajectory.views)
    summary = f"Step by step: {turns} turn{'' if turns == 1 else 's'}, {views} view{'' if views == 1 else 's'}"
    css = style("page.css", "trace.css", "notebook.css", scope=SCOPE, more=pictures.lit_css())
    page = (
        f'<div class="{SCOPE}"><style>{css}</style><div class="result"><div>'
        f'<p class="question" dir="auto">{escape(trajectory.question)}</p>{answer_html(trajectory)}'
        f"{budget_html(trajectory)}</div>{note}{pictures.sources_html()}</div>"
        f"<details><summary>{summary}</summary>{timeline_html(trajectory, pictures)}</details></div>"
    )
    # A model may write half a surrogate pair, which a notebook's file cannot hold.
    return page.encode("utf-8", "replace").decode()
