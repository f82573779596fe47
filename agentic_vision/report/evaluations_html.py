"""Evaluations on the page: the figures of every strategy, the plots, the differences, the worst disagreements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..evaluation.compare import Compared
from ..evaluation.disagreements import FOLDER, MOST, disagreements, write_pages
from ..evaluation.figures import course, number, percent, signed, troubles
from ..evaluation.folder import trajectories
from ..evaluation.outcomes import Outcome
from ..evaluation.plots import draw_accuracy, draw_law, draw_scenes, inline
from ..evaluation.scores import StrategyScores
from ..evaluation.summary import Summary
from ..rows import Row
from .evaluations import PAGE, Evaluations, planned_text

FIGURES = ("accuracy, %", "coarse", "fine", "tokens", "calls", "malformed", "turns", "median s", "95th s", "cost $")


def evaluations_html(found: Evaluations, rows: Mapping[str, Row], out: Path) -> str:
    """The section; the pages of disagreements are written into `out`, where `rows` say which images there are.

    Raises `ConfigError` where matplotlib is not installed.
    """
    summary = found.summary
    return (
        '<section id="evaluation" aria-labelledby="evaluation-head"><h2 id="evaluation-head">'
        f"Evaluation: {summary.n:,} questions</h2>"
        + "".join(f'<p class="trouble">{escape(line)}</p>' for line in troubles(summary))
        + _table("strategy", FIGURES, (_strategy(name, scores) for name, scores in summary.strategies.items()))
        + f'<p class="plan">{escape(planned_text(found.planned))}</p>'
        + f'<div class="plots">{"".join(_plots(found))}</div>'
        + "".join(_compared(found.name, name, both) for name, both in found.compared.items())
        + "".join(_against(summary, baseline) for baseline in summary.against)
        + _disagreements(found, rows, out)
        + "</section>"
    )


def _plots(found: Evaluations) -> Iterable[str]:
    yield _plotted(draw_accuracy(found.summary), "accuracy")
    scenes = draw_scenes(found.summary)
    if scenes is not None:
        yield _plotted(scenes, "scenes")
    if found.planned.law is not None:
        others = [point for point in found.points if point not in found.fitted]
        yield _plotted(draw_law(found.fitted, found.planned.law, others), "law")


def _plotted(figure: Any, name: str) -> str:
    """A plot that scrolls by itself where there is too little room to read it."""
    return f'<div class="plotted" role="region" aria-label="Plot: {name}" tabindex="0">{inline(figure, name)}</div>'


def _strategy(name: str, scores: StrategyScores) -> list[str]:
    shares = (
        percent(scores.accuracy, scores.accuracy_interval),
        percent(scores.accuracy_coarse, scores.accuracy_coarse_interval),
        percent(scores.accuracy_fine, scores.accuracy_fine_interval),
        percent(scores.visual_tokens_ratio),
        percent(scores.call_ratio),
        percent(scores.malformed),
    )
    numbers = (scores.turns, scores.seconds_median, scores.seconds_p95, scores.cost)
    return [escape(name), *shares, *map(number, numbers)]


def _compared(first: str, second: str, both: Mapping[str, Compared]) -> str:
    rows = [
        [
            escape(strategy),
            f"{one.accuracy.n:,}",
            f"{100 * one.before:.1f} → {100 * one.after:.1f}",
            signed(one.accuracy.difference, one.accuracy.interval) + (" *" if one.more_than_noise else ""),
            f"{one.adjusted:.2g}",
            course(one.visual_tokens).replace("->", "→"),
            course(one.calls).replace("->", "→"),
        ]
        for strategy, one in both.items()
    ]
    heads = ("questions", "accuracy, %", "difference, points", "p", "tokens, %", "calls, %")
    return (
        f"<h3>{escape(first)} → {escape(second)}, question by question</h3>{_table('strategy', heads, rows)}"
        '<p class="note">Over the questions that both have scored, with 95 % intervals; p of McNemar\'s exact test, '
        "by Holm's adjustment. * more than noise.</p>"
    )


def _against(summary: Summary, baseline: str) -> str:
    rows = (
        [
            escape(name),
            signed(pair.difference, pair.interval),
            f"{pair.p:.2g}",
            *map(str, (pair.gain, pair.harm, pair.mended, pair.broken)),
        ]
        for name, pair in summary.against[baseline].items()
    )
    heads = ("difference, points", "p", "gain", "harm", "calls mended", "calls broke")
    return f"<h3>Against {escape(baseline)}</h3>{_table('strategy', heads, rows)}"


def _disagreements(found: Evaluations, rows: Mapping[str, Row], out: Path) -> str:
    baseline = next((name for name in ("full", "glance") if name in found.outcomes), None)
    ours = found.outcomes.get("agent")
    if ours is None or baseline is None:
        return ""
    broken, mended = disagreements(ours, found.outcomes[baseline])
    shown = [*broken[:MOST], *mended[:MOST]]
    steps = trajectories(found.origins["agent"][0], {(outcome.row, outcome.strategy) for outcome, _ in shown})
    pages = write_pages(shown, steps, rows, out / FOLDER, f"../{PAGE}")
    heads = ("question", "reference", "agent", baseline, "tokens")
    parts = []
    for title, pairs in ((f"Worse than {baseline}", broken), (f"Better than {baseline}", mended)):
        lines = [_disagreement(one, other, pages.get(one.row)) for one, other in pairs[:MOST]]
        if lines:
            parts.append(f"<h3>{escape(title)}: {len(pairs)}</h3>{_table('row', heads, lines, texts=True)}")
    return "".join(parts)


def _disagreement(ours: Outcome, other: Outcome, page: Path | None) -> list[str]:
    name = escape(ours.row)
    texts = (ours.question, " / ".join(ours.references), ours.answer or "-", other.answer or "-")
    linked = f'<a href="{FOLDER}/{escape(page.name)}">{name}</a>' if page else name
    return [linked, *map(escape, texts), f"{ours.visual_tokens:,.0f}"]


def _table(first: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: bool = False) -> str:
    """A table that scrolls by itself where it is too wide; `rows` are HTML, the first cell of each its head.

    Of `texts`, where there is little room, a row's cells stand below one another, each behind its column's name.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in (first, *heads))
    cells = [f'<td data-head="{escape(text)}">' if texts else "<td>" for text in heads]
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"{cell}{text}</td>" for cell, text in zip(cells, row[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    named = '<table class="text stacked">' if texts else "<table>"
    return (
        f'<div class="wide" role="region" aria-label="Figures by {escape(first)}" tabindex="0">{named}<thead><tr>{head}'
        f"</tr></thead><tbody>{lines}</tbody></table></div>"
    )
