"""An evaluation as a page: `agentic-vision report DIR...` writes `DIR/report.html`, one file that fetches nothing.

It is made from the outcomes alone, so that a run that is still going, or was killed, can be looked at as well.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict

from ..page import style
from ..rows import Row
from ..whole_file import write_whole
from .disagreements import FOLDER, MOST, disagreements, write_pages
from .folder import by_strategy, trajectories
from .outcomes import Outcome
from .planner import Law, Point, cheapest, fit
from .plots import plot_accuracy, plot_law, plot_scenes
from .printed import percent, troubles
from .scores import Scores
from .summary import Summary, summarised

BARE = re.compile(r"glance|full|resize(:[0-9.]+)?")  # the whole image at a share: what the law is fitted to
TOLD = ("oracle", "right_crop", "random")  # strategies that are told where to look: no settings that one can choose
MISSES = 0.03  # a law that misses the points by more, in accuracy, is no guide


class Planned(BaseModel):
    """What an accuracy takes: the cheapest setting that was measured, and the share of tokens by the fitted law.

    `law` and `tokens` are None where there are too few shares to fit one, or where no share reaches the target.
    """

    model_config = ConfigDict(frozen=True)

    target: float
    cheapest: Point | None
    law: Law | None
    tokens: float | None


@dataclass(frozen=True)
class Report:
    """What was found in the folders of one or several evaluations; `folder` is the first of them."""

    folder: Path
    outcomes: Mapping[str, Mapping[str, Outcome]]
    summary: Summary
    planned: Planned
    points: Sequence[Point]

    @classmethod
    def of(cls, folders: Iterable[str | os.PathLike[str]], target: float | None = None) -> Report:
        """Of these folders together: where two have the same strategy, each is named by its folder as well.

        `target`: the accuracy to plan for; None is that of `full`, else the best. Raises `ConfigError` for a folder
        without an evaluation.
        """
        found: dict[str, dict[str, Outcome]] = {}
        places = list(map(Path, folders))
        for folder in places:
            for name, by_row in by_strategy(folder).items():
                found[f"{name} ({folder.name})" if name in found else name] = by_row
        summary = summarised({name: list(by_row.values()) for name, by_row in found.items()})
        points = [
            Point(name=name, tokens=scores.visual_tokens_ratio, accuracy=scores.accuracy, n=scores.n)
            for name, scores in summary.strategies.items()
            if scores.visual_tokens_ratio and scores.accuracy is not None and not name.startswith(TOLD)
        ]
        return cls(places[0], found, summary, _planned(points, target), points)


def _planned(points: Sequence[Point], target: float | None) -> Planned:
    if target is None:
        full = [point.accuracy for point in points if point.name == "full"]
        target = full[0] if full else max((point.accuracy for point in points), default=0.0)
    law = fit(_bare(points))
    return Planned(
        target=target, cheapest=cheapest(points, target), law=law, tokens=law.tokens(target) if law else None
    )


def _bare(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if BARE.fullmatch(point.name.partition(" (")[0])]


def planned_text(planned: Planned) -> str:
    """The plan in a sentence or two."""
    target = f"{100 * planned.target:.1f} % accuracy"
    found = planned.cheapest
    said = (
        f"The cheapest setting measured that reaches {target}: {found.name}, for {found.tokens:.0%} of the tokens."
        if found
        else f"No setting that was measured reaches {target}."
    )
    if planned.law is None:
        return f"{said} Three shares of the whole image (glance, resize:0.5, full) would tell what others cost."
    if planned.law.residual > MISSES:
        missed = f"misses the whole image at several shares by {100 * planned.law.residual:.0f} points of accuracy"
        return f"{said} The law of diminishing errors {missed}: between them, measure."
    reached = f"takes {planned.tokens:.0%} of them" if planned.tokens is not None else "is out of reach"
    return f"{said} By the law that fits the whole image at several shares, it {reached}."


def write_report(report: Report, rows: Mapping[str, Row], out: Path) -> Path:
    """Write `out`/report.html, its plots and the pages of the worst disagreements, and return the former's path.

    `rows`: where the images are, by id; without them there are no pages of disagreements. Raises `ConfigError` where
    matplotlib is not installed or `out` cannot be written.
    """
    plots = [plot_accuracy(report.summary, out / "accuracy.png"), plot_scenes(report.summary, out / "scenes.png")]
    if report.planned.law is not None:
        bare = _bare(report.points)
        others = [point for point in report.points if point not in bare]
        plots.append(plot_law(bare, report.planned.law, others, out / "law.png"))
    page = Template(files("agentic_vision.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    html = page.substitute(
        style=style("page.css"),
        title=f"{report.summary.n:,} questions",
        troubles="".join(f'<p class="trouble">{escape(line)}</p>' for line in troubles(report.summary)),
        strategies="".join(_strategy(name, scores) for name, scores in report.summary.strategies.items()),
        plots="".join(_picture(plot) for plot in plots if plot),
        against="".join(_against(report.summary, baseline) for baseline in report.summary.against),
        planned=escape(planned_text(report.planned)),
        disagreements=_disagreements(report, rows, out),
    )
    path = out / "report.html"
    write_whole(path, html.encode("utf-8", "replace"))
    return path


def _strategy(name: str, scores: Scores) -> str:
    shares = (
        percent(scores.accuracy, scores.accuracy_interval),
        percent(scores.accuracy_coarse, scores.accuracy_coarse_interval),
        percent(scores.accuracy_fine, scores.accuracy_fine_interval),
        percent(scores.visual_tokens_ratio),
        percent(scores.call_ratio),
        percent(scores.malformed),
    )
    numbers = (scores.turns, scores.seconds_median, scores.seconds_p95, scores.cost)
    cells = [escape(name), *map(str, shares), *("-" if value is None else f"{value:.3g}" for value in numbers)]
    return _row(cells)


def _against(summary: Summary, baseline: str) -> str:
    lines = "".join(
        _row(
            [
                escape(name),
                f"{100 * pair.difference:+.1f} [{100 * pair.interval[0]:+.1f} {100 * pair.interval[1]:+.1f}]",
                f"{pair.p:.2g}",
                *map(str, (pair.gain, pair.harm, pair.mended, pair.broken)),
            ]
        )
        for name, pair in summary.against[baseline].items()
    )
    heads = ("strategy", "difference, points", "p", "gain", "harm", "calls mended", "calls broke")
    head = "".join(f"<th>{text}</th>" for text in heads)
    return f"<h2>Against {escape(baseline)}</h2><table><tr>{head}</tr>{lines}</table>"


def _disagreements(report: Report, rows: Mapping[str, Row], out: Path) -> str:
    baseline = next((name for name in ("full", "glance") if name in report.outcomes), None)
    ours = report.outcomes.get("agent")
    if ours is None or baseline is None:
        return ""
    broken, mended = disagreements(ours, report.outcomes[baseline])
    shown = [pair[0] for pairs in (broken, mended) for pair in pairs[:MOST]]
    steps = trajectories(report.folder, {(outcome.row, outcome.strategy) for outcome in shown})
    pages = write_pages(shown, steps, rows, out / FOLDER)
    head = "".join(f"<th>{text}</th>" for text in ("row", "question", "reference", "agent", baseline, "tokens"))
    parts = []
    for title, pairs in ((f"Worse than {baseline}", broken), (f"Better than {baseline}", mended)):
        lines = "".join(_disagreement(ours, other, pages.get(ours.row)) for ours, other in pairs[:MOST])
        if lines:
            parts.append(f"<h2>{escape(title)}: {len(pairs)}</h2><table class='text'><tr>{head}</tr>{lines}</table>")
    return "".join(parts)


def _disagreement(ours: Outcome, other: Outcome, page: Path | None) -> str:
    name = escape(ours.row)
    texts = (ours.question, " / ".join(ours.references), ours.answer or "-", other.answer or "-")
    linked = f'<a href="{FOLDER}/{escape(page.name)}">{name}</a>' if page else name
    return _row([linked, *map(escape, texts), f"{ours.visual_tokens:,.0f}"])


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img class="{escape(path.stem)}" alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'
