"""A trajectory as one HTML page that a person can read: `save_trace(trajectory, images, "trace.html")`.

The page shows the question and how it ended, what it cost against full resolution, each picture with the
numbered windows that the model looked through, and then step by step what it saw, thought, called and was
told. It is one file, without scripts, and fetches nothing; every string that came from a model, a user or a
file name is escaped. Its look is in `trace.html`, beside this module.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .errors import ConfigError
from .messages import Asked, Observation, StopReason, ToolCall, Trajectory, Turn
from .source import ImageLike, Source
from .view import Box, View
from .whole_file import write_whole

if TYPE_CHECKING:
    from PIL import Image

COLOURS = ("#3273f6", "#e8590c", "#0a9b72", "#c2255c", "#7f5af0", "#b98300")
EMBEDDED_SIDE = 1024  # pixels: a page stays small whatever the source; nobody reads more on it
SHOWN_SIDE = 320  # CSS pixels that every view is scaled to, so that small and large ones compare

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


def trace_html(trajectory: Trajectory, images: Sequence[ImageLike | Source]) -> str:
    """The page as text. Raises `ConfigError` as `save_trace` does."""
    sources = [Source.open(image) for image in images]
    seen = trajectory.replay(sources)
    page = Template(files("agentic_vision").joinpath("trace.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(trajectory.question),
        question=escape(trajectory.question),
        answer=_answer(trajectory),
        budget=_budget(trajectory),
        sources="".join(_source(trajectory, number, source) for number, source in enumerate(sources)),
        steps="".join(_steps(trajectory, seen)),
        footer=_footer(trajectory),
    )


def _answer(trajectory: Trajectory) -> str:
    """The answer, or plainly that there is none, and why it ended where the model did not end it."""
    turns = len(trajectory.turns)
    meta = f"<span>{turns} turn{'' if turns == 1 else 's'}, {trajectory.seconds:.2f} s</span>"
    if trajectory.stop_reason is StopReason.ANSWERED:
        return f'<p class="answer"><strong dir="auto">{escape(trajectory.answer or "")}</strong>{meta}</p>'
    why = ENDINGS[trajectory.stop_reason]
    if trajectory.answer is not None:
        said = f'<strong dir="auto">{escape(trajectory.answer)}</strong><span>made to answer: {why}</span>'
        return f'<p class="answer">{said}{meta}</p>'
    detail = f"<span>{escape(trajectory.detail)}</span>" if trajectory.detail else ""
    return f'<p class="answer none"><strong>No answer: {why}</strong>{detail}{meta}</p>'


def _budget(trajectory: Trajectory) -> str:
    """The bar: visual tokens spent, a segment a view, against what full resolution would have cost."""
    usage = trajectory.usage
    total = max(usage.visual_tokens, usage.full_resolution_tokens, 1)
    segments = "".join(
        f'<i style="width:{100 * step.visual_tokens / total:.2f}%;background:{_colour(step.image)}" '
        f'title="image {step.image}: {step.visual_tokens} visual tokens"></i>'
        for step in trajectory.observations
        if step.image is not None
    )
    over = usage.visual_tokens > usage.full_resolution_tokens
    at = 100 * usage.full_resolution_tokens / total
    mark = f'<b style="left:{at:.2f}%" title="full resolution"></b>' if over else ""
    verdict = f"{-usage.saved:.0%} more than at full resolution" if over else f"{usage.saved:.0%} saved"
    floored = " The glance is as small as this model family accepts." if usage.glance_floored else ""
    return (
        f'<div class="budget"><div class="bar">{segments}{mark}</div>'
        f"<p><b>{usage.visual_tokens:,}</b> visual tokens seen, {usage.full_resolution_tokens:,} at full "
        f"resolution: <b>{verdict}</b>.{floored}</p></div>"
    )


def _source(trajectory: Trajectory, index: int, source: Source) -> str:
    """One picture as the user gave it, with the window of every view drawn and numbered."""
    record = trajectory.sources[index]
    width, height = record.size
    scale = min(1.0, EMBEDDED_SIDE / max(width, height))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = View.whole(record.size, small).render(source)
    name = escape(Path(record.label).name)
    title = f"Picture {index + 1}: {name}" if len(trajectory.sources) > 1 else name
    # The image is a symbol, so that the small maps beside the views show it without a second copy.
    return (
        f'<figure class="source"><svg viewBox="0 0 {width} {height}" role="img">'
        f'<symbol id="source{index}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{_data_uri(picture)}"'
        f'{_pixelated(width, 1.5 * SHOWN_SIDE)}/></symbol><use href="#source{index}" width="{width}" '
        f'height="{height}"/>{"".join(_windows(trajectory, index))}</svg><figcaption>{title}, {width:,} x '
        f"{height:,} pixels. The numbered windows are what the model was shown.</figcaption></figure>"
    )


def _windows(trajectory: Trajectory, index: int) -> Iterator[str]:
    """The frame and number of each view of source `index`."""
    side = 0.05 * max(trajectory.sources[index].size)  # of a number's badge, in source pixels
    corners: dict[tuple[int, int], int] = {}
    for number, view in enumerate(trajectory.views, 1):
        if view.source != index:
            continue
        x0, y0 = view.box.x0, view.box.y0
        corner = (round(x0 / side), round(y0 / side))
        shift = corners.get(corner, 0)  # windows that share a corner show their numbers side by side
        corners[corner] = shift + 1
        yield (
            f'<g style="--mark:{_colour(number)}">{_rect(view.box, "halo")}{_rect(view.box, "window")}'
            f'<g class="badge" transform="translate({x0 + 1.1 * shift * side:g} {y0:g}) scale({side:g})">'
            f'<rect width="1" height="1"/><text x=".5" y=".76">{number}</text></g></g>'
        )


def _steps(trajectory: Trajectory, seen: Sequence[Image.Image]) -> Iterator[str]:
    """A list item a step, in order."""
    pictures = iter(seen)
    turn = 0
    for step in trajectory.steps:
        if isinstance(step, Turn):
            turn += 1
            yield _turn(step, turn)
        elif isinstance(step, Asked):
            yield f'<li>{_head("Asked further", "")}<p class="said" dir="auto">{escape(step.question)}</p></li>'
        else:
            yield _observation(step, next(pictures) if step.view is not None else None)


def _turn(turn: Turn, number: int) -> str:
    """What the model thought and then did."""
    tokens = ""
    if turn.input_tokens or turn.output_tokens:
        tokens = f"{turn.input_tokens:,} tokens in, {turn.output_tokens:,} out, "
    parts = [_head(f"Turn {number}", f"{tokens}{turn.seconds:.2f} s")]
    if turn.thought:
        parts.append(f'<blockquote dir="auto">{escape(turn.thought)}</blockquote>')
    parts += [_call(call) for call in turn.calls]
    if turn.answer is not None:
        parts.append(f'<p class="said" dir="auto">{escape(turn.answer)}</p>')
    if turn.problem:
        parts.append(_failure(turn.problem.kind, ""))  # what the model is told of it is the next step
    if turn.text:
        opened = "<details open>" if turn.problem else "<details>"
        raw = f"<summary>As the model wrote it</summary><pre>{escape(turn.text)}</pre>"
        parts.append(f"{opened}{raw}</details>")
    return f"<li>{''.join(parts)}</li>"


def _observation(step: Observation, picture: Image.Image | None) -> str:
    """What came back: a view beside its place on the picture, a text, or a failure."""
    origin = escape(step.call.name) if step.call else "Glance" if step.view else "Told the model"
    badge = f'<span class="number">{step.image}</span>' if step.view else ""
    cost = f"{step.visual_tokens:,} visual tokens" if step.view else f"{step.seconds:.2f} s"
    parts = [_head(badge + origin, cost)]
    if step.failure:
        parts.append(_failure(step.failure.kind, step.failure.message))
    if step.text:
        parts.append(f'<p class="text" dir="auto">{escape(step.text)}</p>')
    if step.view is not None and picture is not None:
        parts.append(_seen(step.view, picture, step.image))
    return f'<li style="--mark:{_colour(step.image)}">{"".join(parts)}</li>'


def _seen(view: View, picture: Image.Image, number: int | None) -> str:
    """The pixels that the model saw, at one display size for all, and a small map of where they are from."""
    width, height = view.size
    zoom = SHOWN_SIDE / max(width, height)
    shown = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    box, (full_width, full_height) = view.box, view.source_size
    turned = f", turned {view.rotation}° clockwise" if view.rotation else ""
    contrast = f", contrast {view.contrast:g} times" if view.contrast != 1 else ""
    corners = f"from ({box.x0:.0f}, {box.y0:.0f}) to ({box.x1:.0f}, {box.y1:.0f})"
    place = "the whole picture" if view.is_whole else corners
    around = f"M0 0H{full_width}V{full_height}H0Z"
    inside = f"M{box.x0:g} {box.y0:g}H{box.x1:g}V{box.y1:g}H{box.x0:g}Z"
    return (
        f'<figure><div class="seen"><img src="{_data_uri(_fitted(picture))}" width="{shown[0]}" '
        f'height="{shown[1]}"{_pixelated(width, shown[0])} alt="image {number} as the model saw it">'
        f'<svg viewBox="0 0 {full_width} {full_height}" role="img" aria-label="its place on the picture">'
        f'<use href="#source{view.source}" width="{full_width}" height="{full_height}"/>'
        f'<path class="shade" d="{around}{inside}"/>{_rect(box, "window")}</svg></div>'
        f"<figcaption>{width:,} x {height:,} pixels, {view.detail:.0%} of the detail, "
        f"{place}{turned}{contrast}</figcaption></figure>"
    )


def _head(label: str, meta: str) -> str:
    return f'<div class="head"><span class="label">{label}</span><span class="meta">{meta}</span></div>'


def _rect(box: Box, kind: str) -> str:
    return f'<rect class="{kind}" x="{box.x0:g}" y="{box.y0:g}" width="{box.width:g}" height="{box.height:g}"/>'


def _call(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f'<code class="call"><b>{escape(call.name)}</b>({escape(arguments)})</code>'


def _failure(kind: str, message: str) -> str:
    return f'<p class="failure"><b>{escape(kind.replace("_", " ").capitalize())}</b>{escape(message)}</p>'


def _footer(trajectory: Trajectory) -> str:
    tools = ", ".join(trajectory.tools) or "none"
    usage = trajectory.usage
    return (
        f"Model family {escape(trajectory.family)}. Tools: {escape(tools)}. {usage.requests} requests, "
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out. Trajectory {escape(trajectory.id)}."
    )


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
    """Lossless for small pictures and drawings (few colours), where that is cheap; JPEG for photographs."""
    drawing = picture.width * picture.height <= 256 * 256 or picture.getcolors(128) is not None
    file = io.BytesIO()
    picture.save(file, "PNG" if drawing else "JPEG", quality=85)
    return f"data:image/{'png' if drawing else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"
