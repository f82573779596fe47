"""The timeline of a trace: what the model was shown first, then turn by turn what it thought, called and got back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape

from .messages import Asked, Observation, Step, ToolCall, Trajectory, Turn
from .page import mark
from .trace_pictures import Pictures


def timeline_html(trajectory: Trajectory, pictures: Pictures, *, ended: bool = True) -> str:
    """A section for each question that was asked, a list item for each glance and turn.

    `ended`: whether calls of which nothing came back never were carried out, or are under way.
    """
    sections = []
    for number, (question, steps) in enumerate(_questions(trajectory)):
        name = f"{pictures.prefix}question{number}"
        asked = f'<p class="asked" dir="auto">{escape(question)}</p>' if number else ""
        heading = f'<h2 id="{name}">{"Asked further" if number else "Step by step"}</h2>'
        items = "".join(_items(steps, pictures, ended))
        sections.append(
            f'<section class="thread" aria-labelledby="{name}">{heading}{asked}<ol class="steps">{items}</ol></section>'
        )
    return "".join(sections)


def _questions(trajectory: Trajectory) -> list[tuple[str, list[tuple[int, Step]]]]:
    """The questions of a thread with their steps, each with the number of the turn that it is or follows."""
    questions: list[tuple[str, list[tuple[int, Step]]]] = [(trajectory.question, [])]
    turn = 0
    for step in trajectory.steps:
        if isinstance(step, Asked):
            questions.append((step.question, []))
            continue
        turn += isinstance(step, Turn)
        questions[-1][1].append((turn, step))
    return questions


def _items(steps: list[tuple[int, Step]], pictures: Pictures, ended: bool) -> Iterator[str]:
    """A list item a glance and a turn; what came back is in the item of the turn that asked for it."""
    turn: Turn | None = None
    number, back = 0, list[Observation]()
    for position, step in steps:
        if isinstance(step, Turn):
            if turn is not None:
                yield _turn(turn, number, back, pictures, ended)
            turn, number, back = step, position, []
        elif isinstance(step, Observation):
            if turn is None:
                dot = f' style="--dot:{mark(step.image)}"' if step.image is not None else ""
                yield f"<li{dot}>{_observation(step, pictures, 'h3')}</li>"
            else:
                back.append(step)
    if turn is not None:
        yield _turn(turn, number, back, pictures, ended)


def _turn(turn: Turn, number: int, back: list[Observation], pictures: Pictures, ended: bool) -> str:
    """What the model thought, then did, then saw."""
    tokens = ""
    if turn.input_tokens or turn.output_tokens:
        tokens = f"{turn.input_tokens:,} tokens in, {turn.output_tokens:,} out, "
    parts = [
        f'<div class="head"><h3>Turn {number}</h3><span class="meta">{tokens}{turn.seconds:.2f} s</span></div>',
    ]
    if turn.thought:
        parts.append(f'<blockquote class="thought" dir="auto">{escape(turn.thought)}</blockquote>')
    if turn.problem:
        parts.append(f'<p class="problem">Malformed turn: {_words(turn.problem.kind).lower()}</p>')
    left = list(back)
    for call in turn.calls:
        parts.append(_call(call))
        for step in [step for step in left if step.call is not None and step.call.id == call.id]:
            left.remove(step)
            parts.append(_observation(step, pictures, "h4"))
    parts += [_observation(step, pictures, "h4") for step in left]
    if turn.calls and not back:
        parts.append(f'<p class="note">{"Not carried out: here it ended." if ended else "Looking &hellip;"}</p>')
    if turn.answer is not None:
        parts.append(f'<p class="said" dir="auto">{escape(turn.answer)}</p>')
    if turn.text:
        opened = "<details open>" if turn.problem else "<details>"
        raw = f'<summary>As the model wrote it</summary><pre dir="auto">{escape(turn.text)}</pre>'
        parts.append(f"{opened}{raw}</details>")
    bad = turn.problem is not None or any(step.failure for step in back)
    kind = ' class="bad"' if bad else ' class="good"' if turn.answer is not None else ""
    return f"<li{kind}>{''.join(parts)}</li>"


def _observation(step: Observation, pictures: Pictures, heading: str) -> str:
    """What came back: a view beside its place on the picture, a text, or a failure."""
    name = escape(step.call.name) if step.call else ""
    seen = step.view is not None and step.image is not None
    label = f"What {name} showed" if name and seen else f"What {name} said" if name else "Told the model"
    cost = f"{step.visual_tokens:,} visual tokens" if seen else f"{step.seconds:.2f} s"
    place, badge = "", ""
    if step.failure:
        label = f"{name} failed: {_words(step.failure.kind).lower()}" if name else _words(step.failure.kind)
    if step.view is not None and step.image is not None:
        label = label if name else "Glance"
        place = f' id="{pictures.prefix}view{step.image}" style="--mark:{mark(step.image)}"'
        badge = (
            f'<a class="number" href="#{pictures.prefix}box{step.image}" '
            f'aria-label="View {step.image}: to its window on the picture">{step.image}</a>'
        )
    head = f"<{heading}>{badge}{label}</{heading}>"
    parts = [f'<div class="head">{head}<span class="meta">{cost}</span></div>']
    if step.failure:
        parts.append(f'<p class="text" dir="auto">{escape(step.failure.message)}</p>')
    if step.text:
        parts.append(f'<p class="text" dir="auto">{escape(step.text)}</p>')
    if step.view is not None and step.image is not None:
        parts.append(pictures.view_html(step.view, step.image))
    return f'<div class="outcome{" failed" if step.failure else ""}"{place}>{"".join(parts)}</div>'


def _call(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f'<code class="call"><b>{escape(call.name)}</b>({escape(arguments)})</code>'


def _words(kind: str) -> str:
    return escape(kind.replace("_", " ").capitalize())
