"""The gallery on the page: a card a trajectory, and filters that need no script (`:has()` on what is checked)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ..errors import AgenticVisionError
from ..messages import Observation, Step, Trajectory, Turn
from ..page import mark
from ..rows import Row
from ..trace_pictures import Pictures
from ..trace_steps import timeline_html
from .gallery import Card

PICTURE_BYTES = 2_200_000  # of all pictures of the gallery, before base64
STEP_BYTES = 1_000_000  # of all that is told of the steps
SIDE = 384  # pixels of a picture
LONGEST = 1500  # characters of a thought

FILTERS = (
    ("result", "Answer", (("right", "right"), ("wrong", "wrong"))),
    ("calls", "Tools", (("called", "called"), ("direct", "did not"))),
    ("kind", "Question", (("fine", "fine"), ("coarse", "coarse"))),
    ("change", "Against full", (("gain", "gain"), ("harm", "harm"))),
)


def gallery_html(cards: Sequence[Card], total: int, rows: Mapping[str, Row]) -> str:
    """The section of these cards, of `total`; nothing without any. `rows`: where the images are, by id."""
    if not cards:
        return ""
    strategies = sorted({(card.number, card.strategy) for card in cards})
    fields = [_field("strategy", "Strategy, or run and step", [(f"s{number}", name) for number, name in strategies])]
    for name, legend, choices in FILTERS:
        there = [(value, text) for value, text in choices if any(value in card.kind for card in cards)]
        fields.append(_field(name, legend, there))
    shown = "".join(_card(card, n, rows, len(cards)) for n, card in enumerate(cards, 1))
    drawn = "all of them" if total == len(cards) else f"{len(cards):,} of {total:,}, drawn evenly from every kind"
    return (
        '<section id="gallery" aria-labelledby="gallery-head"><h2 id="gallery-head">Trajectories</h2>'
        f'<p class="note">Here are {drawn}. The numbered windows are what the model was shown.</p>'
        f'<div class="filters">{"".join(fields)}</div><div class="gallery"><div class="cards">{shown}</div>'
        f'<p class="count" aria-live="polite">of {len(cards):,} shown</p></div></section>'
    )


def gallery_css(cards: Sequence[Card]) -> str:
    """The rules of the filters."""
    names = [f"s{number}" for number in sorted({card.number for card in cards})]
    names += [value for _, _, choices in FILTERS for value, _ in choices]
    rules = (f"#gallery:has(#only-{name}:checked) .card:not(.{name})" for name in names)
    return f"{', '.join(rules)} {{ display: none; }}\n"


def _field(name: str, legend: str, choices: Sequence[tuple[str, str]]) -> str:
    """Radio buttons; nothing where there is nothing to choose."""
    if len(choices) < (1 if name == "change" else 2):
        return ""
    buttons = "".join(
        f'<label><input type="radio" name="{name}" id="only-{value}"><span>{escape(text)}</span></label>'
        for value, text in choices
    )
    every = f'<label><input type="radio" name="{name}" checked><span>all</span></label>'
    return f"<fieldset><legend>{legend}</legend>{every}{buttons}</fieldset>"


def _card(card: Card, number: int, rows: Mapping[str, Row], count: int) -> str:
    outcome = card.outcome
    classes = ["card", f"s{card.number}", *(name for name in card.kind[1:] if name)]
    answer = "no answer" if outcome.answer is None else outcome.answer
    verdict = {"right": "Right", "wrong": "Wrong"}.get(card.result or "", "No score")
    asked = (
        ""
        if card.result == "right"
        else f' <span class="soft">should be</span> {escape(_short(" / ".join(outcome.references)))}'
    )
    full = outcome.full_resolution_tokens
    share = f" of {full:,} ({outcome.visual_tokens / full:.0%})" if full else ""
    change = {"gain": "full was wrong", "harm": "full was right"}.get(card.change or "", "")
    tags = [text for text in (outcome.kind, "called" if outcome.called else "did not call", change) if text]
    drawing, steps = _looked(card, f"c{number}-", rows, count)
    return (
        f'<article class="{" ".join(classes)}" aria-labelledby="c{number}">{drawing}'
        f'<p class="who"><i style="--mark:{mark(card.number)}"></i>{escape(card.strategy)}</p>'
        f'<h3 id="c{number}" dir="auto">{escape(_short(outcome.question))}</h3>'
        f'<p class="verdict" dir="auto"><b>{verdict}:</b> {escape(_short(answer))}{asked}</p>'
        f'<p class="meta">{outcome.visual_tokens:,.0f}{share} visual tokens · {" · ".join(tags)}</p>{steps}</article>'
    )


def _looked(card: Card, prefix: str, rows: Mapping[str, Row], count: int) -> tuple[str, str]:
    """The picture with its windows, and the steps to be opened; what is missing of them is left out."""
    trajectory = card.trajectory
    if trajectory is None:
        return "", ""
    brief = trajectory.model_copy(update={"steps": tuple(map(_brief, trajectory.steps))})
    try:
        sources = brief.open_sources(_images(brief, rows.get(card.outcome.row)))
        pictures = Pictures(brief, sources, PICTURE_BYTES // count, prefix, SIDE, tabbed=False)
        drawings = [
            pictures.drawing_html(index, escape(_short(Path(record.label).name)))
            for index, record in enumerate(brief.sources)
        ]
        steps = timeline_html(brief, pictures)
    except AgenticVisionError:
        pictures = Pictures(brief, None, 0, prefix)
        drawings, steps = [], timeline_html(brief, pictures)
    if len(steps) - PICTURE_BYTES * 4 // 3 // count > 4 * STEP_BYTES // count:
        steps = '<p class="note">Too much was said to be shown here.</p>'
    return (
        f'<div class="looked" style="--pictures:{len(drawings)}">{"".join(drawings)}</div>' if drawings else "",
        f"<details><summary>What it thought and saw</summary>{steps}</details>",
    )


def _images(trajectory: Trajectory, row: Row | None) -> Sequence[str | Path]:
    """The files of the images: those that the row names, else those that were named when it was asked."""
    if row is not None:
        return row.images
    labels = [record.label for record in trajectory.sources]
    # Nothing is fetched to make a page. What is opened is checked to be what was asked about.
    return list(map(Path, labels)) if all(map(os.path.isfile, labels)) else []


def _brief(step: Step) -> Step:
    """A step without what is told twice, and with the beginning of what is long."""
    if isinstance(step, Turn):
        text = _short(step.text) if step.problem else ""
        return step.model_copy(
            update={
                "text": text,
                "thought": step.thought and _short(step.thought),
                "answer": step.answer and _short(step.answer),
            }
        )
    if isinstance(step, Observation) and step.text:
        return step.model_copy(update={"text": _short(step.text)})
    return step


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
