"""A trajectory as one HTML page that a person can read: `save_trace(trajectory, images, "trace.html")`.

The page shows the question and how it ended, what it cost against full resolution, each picture with the
numbered windows that the model looked through, and then turn by turn what it thought, called and was shown. It is one
file, without scripts, and fetches nothing; every string that came from a model, a user or a file name is escaped. Its
look is in `trace.html`, `trace.css` and `page.css`, beside this module; a notebook shows the same in brief.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from .errors import ConfigError
from .messages import Asked, StopReason, Trajectory
from .page import mark, style
from .source import ImageLike, Source
from .trace_pictures import Pictures
from .trace_steps import timeline_html
from .whole_file import write_whole

PICTURE_BYTES = 1_300_000  # of all pictures of a page: with base64's third, the page stays under 2 MB

ENDINGS = {
    StopReason.TURN_LIMIT: "the turn limit was reached",
    StopReason.TOKEN_BUDGET: "the visual-token budget was spent",
    StopReason.DEADLINE: "time ran out",
    StopReason.REPEATED_CALL: "the same call was repeated",
    StopReason.MALFORMED: "too many malformed turns",
    StopReason.CONTEXT_FULL: "the conversation outgrew the model",
    StopReason.REFUSED: "the model refused",
    StopReason.MISCONFIGURED: "the model cannot be asked like this",
    StopReason.POLICY_FAILED: "the model failed",
}


def save_trace(trajectory: Trajectory, images: Sequence[ImageLike | Source], path: str | os.PathLike[str]) -> Path:
    """Write the page to `path` and return it. `images` are the question's own, in their order.

    Raises `ConfigError` where an image is missing or is not the one that was asked about, or `path` cannot be
    written.
    """
    page = trace_html(trajectory, images)
    try:
        # A model may write half a surrogate pair, which UTF-8 cannot hold.
        write_whole(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(
            f"cannot write the trace to {path} ({error.strerror}): give a file in a folder that you may write"
        ) from error
    return Path(path)


def trace_html(trajectory: Trajectory, images: Sequence[ImageLike | Source], beside: str = "") -> str:
    """The page as text. `beside`: HTML that follows the answer. Raises `ConfigError` as `save_trace` does."""
    pictures = Pictures(trajectory, trajectory.open_sources(images), PICTURE_BYTES)
    page = Template(files("agentic_vision").joinpath("trace.html").read_text(encoding="utf-8"))
    return page.substitute(
        style=style("page.css", "trace.css", more=pictures.lit_css()),
        title=escape(trajectory.question),
        question=escape(trajectory.question),
        answer=answer_html(trajectory),
        beside=beside,
        budget=budget_html(trajectory),
        sources=pictures.sources_html(),
        timeline=timeline_html(trajectory, pictures),
        footer=_footer(trajectory),
    )


def answer_html(trajectory: Trajectory) -> str:
    """The answer, or plainly that there is none, and why it ended where the model did not end it."""
    turns = len(trajectory.turns)
    meta = f"<span>{turns} turn{'' if turns == 1 else 's'}, {trajectory.seconds:.2f} s</span>"
    further = [step.question for step in trajectory.steps if isinstance(step, Asked)]
    if further:
        meta = f'<span dir="auto">to the last of {1 + len(further)} questions: {escape(further[-1])}</span>{meta}'
    if trajectory.answer is None:
        detail = f"<span>{escape(trajectory.detail)}</span>" if trajectory.detail else ""
        why = ENDINGS.get(trajectory.stop_reason, "none was given")
        return f'<p class="answer none"><strong>No answer: {why}</strong>{detail}{meta}</p>'
    ended = "answered"
    if trajectory.stop_reason is not StopReason.ANSWERED:
        ended = f"made to answer: {ENDINGS[trajectory.stop_reason]}"
    said = f'<strong dir="auto">{escape(trajectory.answer)}</strong>'
    return f'<p class="answer">{said}<span>{ended}</span>{meta}</p>'


def budget_html(trajectory: Trajectory) -> str:
    """The bar: visual tokens spent, a segment a view, against what full resolution would have cost."""
    usage = trajectory.usage
    total = max(usage.visual_tokens, usage.full_resolution_tokens, 1)
    segments, told = [], []
    for step in trajectory.observations:
        if step.image is not None:
            share = 100 * step.visual_tokens / total
            told.append(f"view {step.image} {step.visual_tokens:,}")
            segments.append(
                f'<i style="width:{share:.2f}%;--mark:{mark(step.image)}" title="view {step.image}: '
                f'{step.visual_tokens:,} visual tokens">{step.image if share >= 3 else ""}</i>'
            )
    over = usage.visual_tokens > usage.full_resolution_tokens
    at = 100 * usage.full_resolution_tokens / total
    edge = f'<b style="left:{at:.2f}%" title="full resolution"></b>' if over else ""
    verdict = f"{-usage.saved:.0%} more than at full resolution" if over else f"{usage.saved:.0%} saved"
    floored = '<p class="note">The glance is as small as this model family accepts.</p>' if usage.glance_floored else ""
    return (
        f'<figure class="budget"><figcaption><span><b>{usage.visual_tokens:,}</b> visual tokens seen, '
        f"<b>{usage.full_resolution_tokens:,}</b> at full resolution</span>"
        f"<strong{' class=over' if over else ''}>{verdict}</strong></figcaption>"
        f'<div class="bar" role="img" aria-label="Visual tokens: {", ".join(told)}, of '
        f'{usage.full_resolution_tokens:,} at full resolution">{"".join(segments)}{edge}</div>{floored}</figure>'
    )


def _footer(trajectory: Trajectory) -> str:
    tools = ", ".join(trajectory.tools) or "none"
    usage = trajectory.usage
    asked = "1 request" if usage.requests == 1 else f"{usage.requests} requests"
    return (
        f"Model family {escape(trajectory.family)}. Tools: {escape(tools)}. {asked}, "
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out. Trajectory {escape(trajectory.id)}. "
        "Made by agentic-vision."
    )
