"""A trajectory as one self-contained HTML page that a person can read: `save_trace(trajectory, images, "trace.html")`.

The page shows the question and how it ended, what it cost against full resolution, each picture with the numbered windows that
the model looked through, and then step by step what it saw, thought, called and was told. No script and no network; every
string that came from a model, a user or a file name is escaped.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError
from .messages import Observation, StopReason, ToolCall, Trajectory, Turn
from .source import ImageLike, Source
from .trace_page import PAGE, STYLE
from .view import View

if TYPE_CHECKING:
    from PIL import Image

COLOURS = ("#3273f6", "#e8590c", "#0a9b72", "#c2255c", "#7f5af0", "#b98300")
EMBEDDED_SIDE = 1024  # pixels: a page stays small whatever the source; nobody reads more on it
SHOWN_SIDE = 320  # CSS pixels that every view is scaled to, so that small and large ones compare

ENDINGS = {
    StopReason.TURN_LIMIT: "No answer: the turn limit was reached",
    StopReason.TOKEN_BUDGET: "No answer: the visual-token budget was spent",
    StopReason.DEADLINE: "No answer: time ran out",
    StopReason.REPEATED_CALL: "No answer: the same call was repeated",
    StopReason.MALFORMED: "No answer: too many malformed turns",
    StopReason.POLICY_FAILED: "No answer: the model failed",
}


def save_trace(trajectory: Trajectory, images: Sequence[ImageLike | Source], path: str | os.PathLike[str]) -> Path:
    """Write the page to `path` and return it. `images` are the question's own, in their order.

    Raises `ConfigError` where an image is missing or is another one than was asked about, or `path` cannot be written.
    """
    page = trace_html(trajectory, images)
    try:
        # A model may write half a surrogate pair, which UTF-8 cannot hold.
        Path(path).write_bytes(page.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"cannot write the trace to {path} ({error.strerror}): give a file in a folder that exists and is yours"
                          ) from error
    return Path(path)


def trace_html(trajectory: Trajectory, images: Sequence[ImageLike | Source]) -> str:
    """The page as text. Raises `ConfigError` as `save_trace` does."""
    sources = [Source.open(image) for image in images]
    seen = trajectory.replay(sources)
    return PAGE.substitute(
        title=escape(trajectory.question), style=STYLE, question=escape(trajectory.question), answer=_answer(trajectory),
        budget=_budget(trajectory), sources="".join(_source(trajectory, n, source) for n, source in enumerate(sources)),
        steps="".join(_steps(trajectory, seen)), footer=_footer(trajectory),
    )


def _answer(trajectory: Trajectory) -> str:
    """The answer, or plainly that there is none and why."""
    turns = len(trajectory.turns)
    meta = f'<span>{turns} turn{"" if turns == 1 else "s"}, {trajectory.seconds:.2f} s</span>'
    if trajectory.stop_reason is StopReason.ANSWERED:
        return f'<p class="answer"><strong dir="auto">{escape(trajectory.answer or "")}</strong>{meta}</p>'
    detail = f"<span>{escape(trajectory.detail)}</span>" if trajectory.detail else ""
    return f'<p class="answer none"><strong>{ENDINGS[trajectory.stop_reason]}</strong>{detail}{meta}</p>'


def _budget(trajectory: Trajectory) -> str:
    """The bar: visual tokens spent, a segment a view, against what full resolution would have cost."""
    usage = trajectory.usage
    total = max(usage.visual_tokens, usage.full_resolution_tokens, 1)
    shown = [step for step in trajectory.observations if step.image is not None]
    segments = "".join(
        f'<i style="width:{100 * step.visual_tokens / total:.2f}%;background:{_colour(step.image)}" '
        f'title="image {step.image}: {step.visual_tokens} visual tokens"></i>' for step in shown)
    over = usage.visual_tokens > usage.full_resolution_tokens
    mark = f'<b style="left:{100 * usage.full_resolution_tokens / total:.2f}%" title="full resolution"></b>' if over else ""
    verdict = f"{-usage.saved:.0%} more than at full resolution" if over else f"{usage.saved:.0%} saved"
    floored = " The glance is as small as this model family accepts." if usage.glance_floored else ""
    return (f'<div class="budget"><div class="bar">{segments}{mark}</div><p><b>{usage.visual_tokens:,}</b> visual tokens seen, '
            f"{usage.full_resolution_tokens:,} at full resolution: <b>{verdict}</b>.{floored}</p></div>")


def _source(trajectory: Trajectory, index: int, source: Source) -> str:
    """One picture as the user gave it, with the window of every view drawn and numbered."""
    record = trajectory.sources[index]
    width, height = record.size
    numbered = [(n, view) for n, view in enumerate(trajectory.views, 1) if view.source == index]
    scale = min(1.0, EMBEDDED_SIDE / max(width, height))
    picture = View.whole(record.size).resized((max(1, round(width * scale)), max(1, round(height * scale)))).render(source)
    badge = 0.05 * max(width, height)
    corners: dict[tuple[int, int], int] = {}
    windows = []
    for number, view in numbered:
        box = view.box
        corner = (round(box.x0 / badge), round(box.y0 / badge))
        shift = corners.get(corner, 0)  # windows that share a corner show their numbers side by side
        corners[corner] = shift + 1
        windows.append(
            f'<g><rect x="{box.x0:g}" y="{box.y0:g}" width="{box.width:g}" height="{box.height:g}" fill="none" stroke="#fff" '
            f'stroke-opacity=".75" stroke-width="5" vector-effect="non-scaling-stroke"/><rect x="{box.x0:g}" y="{box.y0:g}" '
            f'width="{box.width:g}" height="{box.height:g}" fill="none" stroke="{_colour(number)}" stroke-width="2.5" '
            f'vector-effect="non-scaling-stroke"/><g transform="translate({box.x0 + shift * badge * 1.1:g} {box.y0:g}) '
            f'scale({badge:g})"><rect width="1" height="1" fill="{_colour(number)}"/><text x=".5" y=".76" font-size=".74" '
            f'font-weight="700" text-anchor="middle" fill="#fff" font-family="system-ui, sans-serif">{number}</text></g></g>')
    name = escape(Path(record.label).name)
    title = f"Picture {index + 1}: {name}" if len(trajectory.sources) > 1 else name
    # The image is a symbol so that the small maps beside the views show it without a second copy.
    return (f'<figure class="source"><svg viewBox="0 0 {width} {height}" role="img"><symbol id="source{index}" '
            f'viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="{_data_uri(picture)}"{_pixelated(width, 1.5 * SHOWN_SIDE)}/></symbol><use href="#source{index}" '
            f'width="{width}" height="{height}"/>{"".join(windows)}</svg><figcaption>{title}, {width:,} × {height:,} pixels. '
            f"The numbered windows are what the model was shown.</figcaption></figure>")


def _steps(trajectory: Trajectory, seen: Sequence[Image.Image]) -> Iterator[str]:
    """A list item a step, in order."""
    pictures = iter(seen)
    turn = 0
    for step in trajectory.steps:
        if isinstance(step, Turn):
            turn += 1
            yield _turn(step, turn)
        else:
            yield _observation(step, next(pictures) if step.view is not None else None)


def _turn(turn: Turn, number: int) -> str:
    """What the model thought and then did."""
    tokens = f"{turn.input_tokens:,} tokens in, {turn.output_tokens:,} out, " if turn.input_tokens or turn.output_tokens else ""
    parts = [f'<div class="head"><span class="label">Turn {number}</span><span class="meta">{tokens}{turn.seconds:.2f} s</span></div>']
    if turn.thought:
        parts.append(f'<blockquote dir="auto">{escape(turn.thought)}</blockquote>')
    parts += [_call(call) for call in turn.calls]
    if turn.answer is not None:
        parts.append(f'<p class="said" dir="auto">{escape(turn.answer)}</p>')
    if turn.problem:
        parts.append(_failure(turn.problem.kind, turn.problem.message))
    raw = "" if not turn.text else f"<details{' open' if turn.problem else ''}><summary>As the model wrote it</summary>" \
        f"<pre>{escape(turn.text)}</pre></details>"
    return f"<li>{''.join(parts)}{raw}</li>"


def _observation(step: Observation, picture: Image.Image | None) -> str:
    """What came back: a view beside its place on the picture, a text, or a failure."""
    origin = escape(step.call.name) if step.call else "Glance" if step.view else "Told the model"
    spent = f"{step.visual_tokens:,} visual tokens" if step.view else f"{step.seconds:.2f} s"
    if step.view is None or picture is None:
        head = f'<div class="head"><span class="label">{origin}</span><span class="meta">{spent}</span></div>'
    else:
        head = (f'<div class="head"><span class="label"><span class="number">{step.image}</span>{origin}</span>'
                f'<span class="meta">{spent}</span></div>')
    body = []
    if step.failure:
        body.append(_failure(step.failure.kind, step.failure.message))
    if step.text:
        body.append(f'<p class="text" dir="auto">{escape(step.text)}</p>')
    if step.view is not None and picture is not None:
        body.append(_seen(step.view, picture, step.image))
    return f'<li style="--mark:{_colour(step.image)}">{head}{"".join(body)}</li>'


def _seen(view: View, picture: Image.Image, number: int | None) -> str:
    """The pixels that the model saw, at one display size for all views, and a small map of where they are from."""
    width, height = view.size
    zoom = SHOWN_SIDE / max(width, height)
    box, (full_width, full_height) = view.box, view.source_size
    turned = f", turned {view.rotation}° clockwise" if view.rotation else ""
    contrast = f", contrast × {view.contrast:g}" if view.contrast != 1 else ""
    place = "the whole picture" if view.is_whole else f"from ({box.x0:.0f}, {box.y0:.0f}) to ({box.x1:.0f}, {box.y1:.0f})"
    hole = (f"M0 0H{full_width}V{full_height}H0ZM{box.x0:g} {box.y0:g}H{box.x1:g}V{box.y1:g}H{box.x0:g}Z")
    return (f'<figure><div class="seen"><img src="{_data_uri(_fitted(picture))}" width="{max(1, round(width * zoom))}" '
            f'height="{max(1, round(height * zoom))}"{_pixelated(width, width * zoom)} alt="image {number} as the model saw it">'
            f'<svg viewBox="0 0 {full_width} {full_height}" role="img" aria-label="its place on the picture">'
            f'<use href="#source{view.source}" width="{full_width}" height="{full_height}"/><path d="{hole}" fill="#000" '
            f'fill-opacity=".55" fill-rule="evenodd"/><rect x="{box.x0:g}" y="{box.y0:g}" width="{box.width:g}" '
            f'height="{box.height:g}" fill="none" stroke="{_colour(number)}" stroke-width="2.5" vector-effect="non-scaling-stroke"/>'
            f"</svg></div><figcaption>{width:,} × {height:,} pixels, {view.detail:.0%} of the detail, {place}{turned}{contrast}"
            f"</figcaption></figure>")


def _call(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f'<code class="call"><b>{escape(call.name)}</b>({escape(arguments)})</code>'


def _failure(kind: str, message: str) -> str:
    return f'<p class="failure"><b>{escape(kind.replace("_", " ").capitalize())}</b>{escape(message)}</p>'


def _footer(trajectory: Trajectory) -> str:
    tools = ", ".join(trajectory.tools) or "none"
    usage = trajectory.usage
    return (f"Model family {escape(trajectory.family)}. Tools: {escape(tools)}. {usage.requests} requests, {usage.input_tokens:,} "
            f"tokens in, {usage.output_tokens:,} out. Trajectory {escape(trajectory.id)}.")


def _colour(number: int | None) -> str:
    return "var(--soft)" if number is None else COLOURS[(number - 1) % len(COLOURS)]


def _pixelated(width: float, shown: float) -> str:
    """Blur would hide what little detail there is: enlarged pixels stay square."""
    return ' class="pixelated"' if shown >= 1.5 * width else ""


def _fitted(picture: Image.Image) -> Image.Image:
    """At most `EMBEDDED_SIDE` pixels a side."""
    if max(picture.size) <= EMBEDDED_SIDE:
        return picture
    smaller = picture.copy()
    smaller.thumbnail((EMBEDDED_SIDE, EMBEDDED_SIDE))
    return smaller


def _data_uri(picture: Image.Image) -> str:
    """Lossless where that is cheap (small pictures, drawings), JPEG otherwise."""
    lossless, lossy = io.BytesIO(), io.BytesIO()
    picture.save(lossless, "PNG", optimize=True)
    if lossless.tell() <= 100_000:
        return "data:image/png;base64," + base64.b64encode(lossless.getvalue()).decode()
    picture.save(lossy, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(lossy.getvalue()).decode()
