"""Training runs on the page: how far they are, their curves, and what they were told to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from .charts import Line, chart, said
from .metrics import PANELS, SMOOTHED, Panel, curve
from .training_runs import RunGroup, TrainingRun

REPLIES = (
    Panel("Tokens of a trajectory's replies", (("response_tokens", "tokens"),)),
    Panel("Turns", (("turns", "turns"),)),
    Panel(
        "Trajectories in trouble",
        (("malformed", "malformed"), ("no_verdict", "without a verdict")),
        share=True,
    ),
    Panel("Groups that teach nothing", (("alike", "all alike"), ("failed_groups", "failed")), share=True),
)
LEARNING = (
    Panel("KL from the start", (("kl", "KL"),)),
    Panel("Entropy", (("entropy", "entropy"),)),
    Panel("Share of tokens clipped", (("clipped", "clipped"),)),
    Panel("Norm of the gradient", (("grad_norm", "norm"),)),
    Panel("Learning rate", (("learning_rate", "rate"),)),
)
TIME = Panel(
    "Seconds a step",
    (
        ("seconds", "in all"),
        ("seconds_rollout", "rollout"),
        ("seconds_update", "update"),
        ("seconds_log_prob", "log probs"),
    ),
)
COLUMNS = (
    ("reward", "reward", False),
    ("accuracy", "accuracy", True),
    ("call_ratio_fine", "calls, fine", True),
    ("call_ratio_coarse", "calls, coarse", True),
    ("visual_tokens_ratio", "tokens", True),
)
RECIPES = 3  # whose descriptions are shown
OTHERS = 24  # figures that we do not know are drawn
QUIET = 10  # steps' worth of silence: then it has probably ended


def training_html(groups: Sequence[RunGroup]) -> str:
    """The section of these runs."""
    begun = [group for group in groups if group.told]
    parts = [
        '<section id="training" aria-labelledby="training-head"><h2 id="training-head">Training</h2>',
        *(f'<p class="lead">{escape(told)}</p>' for told in _descriptions(groups)),
        _overview(groups),
        *(f'<p class="trouble">{escape(note)}</p>' for note in _notes(groups)),
    ]
    if begun:
        kept = "the faint line is a single step" if _alone(begun) else "bands are from the lowest seed to the highest"
        single = all(len(group.told) == 1 for group in begun)
        more = "" if single and not _alone(begun) else f"; {kept}"
        parts.append(f'<p class="note">Curves are means over {SMOOTHED} steps{more}.</p>')
        parts.append(_charts("", [*PANELS, *_parts(begun), TIME], begun))
        parts.append(_charts("Validation", _validation(begun), begun))
        parts.append(_charts("Replies and learning", [*REPLIES, *LEARNING], begun))
        parts.append(_others(begun))
    parts.append(_settings(groups))
    return "".join(parts) + "</section>"


def _descriptions(groups: Sequence[RunGroup]) -> list[str]:
    """What the recipes say of themselves, each once."""
    said = [run.settings.get("description", "") for group in groups for run in group.runs]
    return list(dict.fromkeys(filter(None, said)))[:RECIPES]


def _alone(groups: Sequence[RunGroup]) -> bool:
    return len(groups) == 1 and len(groups[0].told) == 1


def _overview(groups: Sequence[RunGroup]) -> str:
    """A row a run: how far it is, and its last figures."""
    heads = "".join(f'<th scope="col">{text}</th>' for _, text, _ in COLUMNS)
    rows = "".join(_overview_row(group, run) for group in groups for run in group.runs)
    head = f'<tr><th scope="col">run</th><th scope="col">steps</th>{heads}<th scope="col">s a step</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide" role="region" aria-label="Runs" tabindex="0">{table}</div>'


def _overview_row(group: RunGroup, run: TrainingRun) -> str:
    name = group.name if len(group.runs) == 1 else f"{group.name}, {run.folder.name}"
    cells = []
    for figure, _, share in COLUMNS:
        found = curve([run.lines], figure)
        cells.append(said(found.means[-1], share=share) if found else "-")
    cells.append("-" if run.seconds is None else f"{run.seconds:.1f}")
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th><td class="far">{_steps(run)}</td>{numbers}</tr>'


def _steps(run: TrainingRun) -> str:
    if run.steps is None:
        return f"{run.step:,}"
    if run.done:
        return f"{run.step:,}, done"
    left = f", about {span(run.left)} left" if run.left and run.lines else ""
    return (
        f'<progress max="{max(1, run.steps)}" value="{max(0, run.step)}">{run.step}</progress> '
        f"{run.step:,} of {run.steps:,}{left}"
    )


def span(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def _notes(groups: Sequence[RunGroup]) -> Iterator[str]:
    for run in (run for group in groups for run in group.runs):
        if not run.lines:
            yield f"{run.folder}: no step has been told yet"
        if run.broken:
            lines = "a line is" if run.broken == 1 else f"{run.broken:,} lines are"
            yield f"{run.folder / 'metrics.jsonl'}: {lines} broken, and left out"
        if run.written is not None and not run.done and run.steps is not None:
            silent = time.time() - run.written
            if silent > max(60.0, QUIET * (run.seconds or 0)):
                yield f"{run.folder}: no step for {span(silent)}; the same `train` command goes on with it"


def _charts(title: str, panels: Sequence[Panel], groups: Sequence[RunGroup]) -> str:
    """A chart a panel for one run; for several, one for each of its figures, in which every run is a line."""
    drawn = [figure for panel in panels for figure in _panel(panel, groups)]
    head = f"<h3>{escape(title)}</h3>" if title else ""
    return f'{head}<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _panel(panel: Panel, groups: Sequence[RunGroup]) -> Iterator[str]:
    if len(groups) == 1:
        found = [(label, curve(groups[0].told, name)) for name, label in panel.lines]
        lines = [Line(label, number, line) for number, (label, line) in enumerate(found, 1) if line is not None]
        if lines:
            yield chart(panel.title, lines, share=panel.share, better=panel.better)
        return
    for name, label in panel.lines:
        curves = [(group.name, curve(group.told, name)) for group in groups]
        lines = [Line(run, number, line) for number, (run, line) in enumerate(curves, 1) if line is not None]
        title = f"{panel.title}: {label}" if len(panel.lines) > 1 else panel.title
        if lines:
            yield chart(title, lines, share=panel.share, better=panel.better)


def _names(groups: Sequence[RunGroup]) -> list[str]:
    return sorted({name for group in groups for run in group.told for line in run for name in line})


def _parts(groups: Sequence[RunGroup]) -> list[Panel]:
    names = [name for name in _names(groups) if name.startswith("part_")]
    lines = tuple((name, name.removeprefix("part_").replace("_", " ")) for name in names[:OTHERS])
    return [Panel("Parts of the reward", lines)] if len(lines) > 1 else []


def _validation(groups: Sequence[RunGroup]) -> list[Panel]:
    names = [name for name in _names(groups) if name.startswith("val_")]
    return [Panel(name.removeprefix("val_").replace("_", " "), ((name, name),)) for name in names[:OTHERS]]


def _others(groups: Sequence[RunGroup]) -> str:
    shown = {name for panel in (*PANELS, *REPLIES, *LEARNING, TIME) for name, _ in panel.lines} | {"step"}
    names = [name for name in _names(groups) if name not in shown and not name.startswith(("part_", "val_"))]
    charts = _charts("", [Panel(name, ((name, name),)) for name in names[:OTHERS]], groups)
    return f"<details><summary>All other figures that the run tells</summary>{charts}</details>" if charts else ""


def _settings(groups: Sequence[RunGroup]) -> str:
    """What differs between the runs first, then all of what each was told."""
    runs = [
        (group.name if len(group.runs) == 1 else f"{group.name}, {run.folder.name}", run)
        for group in groups
        for run in group.runs
    ]
    names = list(dict.fromkeys(name for _, run in runs for name in run.settings if name != "description"))
    if not names:
        return ""
    by_run = [(name, run.settings) for name, run in runs]
    apart = [name for name in names if len({settings.get(name) for _, settings in by_run}) > 1]
    parts = []
    if apart:
        parts.append(f"<h3>What the runs were told differently</h3>{_setting_table(apart, by_run)}")
    same = [name for name in names if name not in apart]
    title = "All other settings" if apart else "Settings of the recipe"
    if same:
        parts.append(f"<details><summary>{title}</summary>{_setting_table(same, by_run[:1])}</details>")
    return "".join(parts)


def _setting_table(names: Sequence[str], by_run: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name, _ in by_run) if len(by_run) > 1 else ""
    head = f'<thead><tr><th scope="col">setting</th>{heads}</tr></thead>' if heads else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(settings.get(name, '-'))}</td>" for _, settings in by_run)
        + "</tr>"
        for name in names
    )
    table = f'<table class="text">{head}<tbody>{rows}</tbody></table>'
    return f'<div class="wide" role="region" aria-label="Settings" tabindex="0">{table}</div>'
