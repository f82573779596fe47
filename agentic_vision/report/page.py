"""Evaluations and training runs as one page: `report.html`, which fetches nothing and runs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from ..errors import ConfigError
from ..evaluation.folder import has_outcome
from ..page import style
from ..rows import Row
from ..whole_file import write_whole
from .evaluations import PAGE, Evaluations, apart, is_done
from .evaluations_html import evaluations_html
from .gallery import chosen
from .gallery_html import gallery_css, gallery_html
from .samples import sampled
from .training_html import span, training_html
from .training_runs import RunGroup, groups_in

SECTIONS = {"training": "Training", "evaluation": "Evaluation", "gallery": "Trajectories"}


@dataclass(frozen=True)
class Report:
    """What was found in some folders. `empty`: those that hold nothing yet; `folders`: all, each with its name."""

    folders: Mapping[Path, str]
    evaluations: Evaluations | None
    groups: Sequence[RunGroup]
    empty: Sequence[Path]

    @classmethod
    def of(
        cls, folders: Iterable[str | os.PathLike[str]], target: float | None = None, *, wait: bool = False
    ) -> Report:
        """Of these folders: evaluations, training runs, folders of several runs.

        `target`: the accuracy to plan for. Raises `ConfigError` for a folder without any of them, unless we are to
        `wait` for it.
        """
        names = apart(list(map(Path, folders)))
        evaluated = [folder for folder in names if has_outcome(folder)]
        trained = {folder: groups_in(folder, name) for folder, name in names.items()}
        empty = [folder for folder in names if folder not in evaluated and not trained[folder]]
        if empty and not wait:
            raise ConfigError(
                f"{empty[0]} holds neither an evaluation nor a training run: give the --out of `agentic-vision eval` "
                "or of `agentic-vision train`"
            )
        groups = [group for found in trained.values() for group in found]
        return cls(names, Evaluations.of(evaluated, target) if evaluated else None, groups, empty)

    @property
    def unfinished(self) -> list[str]:
        """What has not come to its end, and how far it is: a line each."""
        told = [f"{folder}: nothing yet" for folder in self.empty]
        for run in (run for group in self.groups for run in group.runs if not run.done):
            left = f", about {span(run.left)} left" if run.left and run.lines else ""
            told.append(f"{run.folder}: step {run.step:,}{f' of {run.steps:,}' if run.steps else ''}{left}")
        if self.evaluations:
            origins, outcomes = self.evaluations.origins, self.evaluations.outcomes
            for folder in dict.fromkeys(folder for folder, _ in origins.values()):
                count = sum(len(outcomes[name]) for name, origin in origins.items() if origin[0] == folder)
                told += [] if is_done(folder) else [f"{folder}: {count:,} answers so far"]
        return told


def write_report(report: Report, rows: Mapping[str, Row], out: Path, *, again: float | None = None) -> Path:
    """Write `out`/report.html, and the pages of the worst disagreements, and return the former's path.

    `rows`: where the images are, by id; without them there are no pages of disagreements. `again`: seconds after which
    a browser is to load the page anew. Raises `ConfigError` where an evaluation is drawn without matplotlib, `OSError`
    where `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    cards, total = chosen(report.evaluations, sampled(report.groups))
    sections = [
        *(f'<p class="trouble">There is nothing in {escape(str(folder))} yet.</p>' for folder in report.empty),
        training_html(report.groups) if report.groups else "",
        evaluations_html(report.evaluations, rows, out) if report.evaluations else "",
        gallery_html(cards, total, rows),
    ]
    title = " · ".join(report.folders.values())
    page = Template(files("agentic_vision.report").joinpath("page.html").read_text(encoding="utf-8"))
    html = page.substitute(
        style=style("page.css", "trace.css", "report/report.css", more=gallery_css(cards)),
        again=f'<meta http-equiv="refresh" content="{again:.0f}">' if again else "",
        title=escape(title if len(title) < 100 else f"{title[:99]}…"),
        live=_live(report) if again else "",
        places=_places("".join(sections)),
        made=time.strftime("%Y-%m-%d %H:%M:%S"),
        sections="".join(sections),
    )
    path = out / PAGE
    write_whole(path, html.encode("utf-8", "replace"))
    return path


def _live(report: Report) -> str:
    going = "".join(f"<li>{escape(line)}</li>" for line in report.unfinished)
    return f'<div class="live"><p>Live: this page renews itself until all is done.</p><ul>{going}</ul></div>'


def _places(html: str) -> str:
    """Links to the sections, where there are several."""
    there = [(name, title) for name, title in SECTIONS.items() if f'<section id="{name}"' in html]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in there)
    return f'<nav aria-label="Sections">{links}</nav>' if len(there) > 1 else ""
