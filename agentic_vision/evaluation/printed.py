"""What `agentic-vision eval` prints: tables for people, that fit 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..cli_output import plain, printer
from .compare import Compared
from .figures import course, number, percent, signed, troubles
from .judged import Judged
from .paired import Paired
from .summary import Summary

MOST = 12  # disagreements that are shown
LOW, HIGH = 0.05, 0.001  # p below these gets one mark, two marks


def show_summary(summary: Summary) -> None:
    """The strategies' figures, those against the baselines, and what was in trouble."""
    console = printer()
    console.print(_accuracies(summary))
    console.print()
    console.print(_manners(summary))
    for baseline, found in summary.against.items():
        console.print()
        console.print(_against(baseline, found))
    console.print()
    for line in troubles(summary):
        console.print(Text(line, style="red"))


def show_written(path: Path, names: Sequence[str]) -> None:
    """What was written, and where."""
    said = f"Written to {path}: {', '.join(names)}; `agentic-vision report {path}` for a page"
    printer().print(Text(said))


def show_compared(found: Mapping[str, Compared], first: Path, second: Path) -> None:
    """Both evaluations, strategy by strategy."""
    table = _table(f"{first} -> {second}, in %; differences with 95 % intervals")
    table.add_column("strategy", style="bold", no_wrap=True)
    for column in ("questions", "accuracy", "difference", "p", "tokens", "calls"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, both in found.items():
        table.add_row(
            plain(name),
            f"{both.accuracy.n:,}",
            f"{100 * both.before:.1f} -> {100 * both.after:.1f}",
            _said(signed(both.accuracy.difference, both.accuracy.interval)),
            f"{both.adjusted:.2g}",
            course(both.visual_tokens),
            course(both.calls),
        )
    console = printer()
    console.print(table)
    more = [plain(name) for name, both in found.items() if both.more_than_noise]
    said = f"more than noise: {', '.join(more)}" if more else "no difference in accuracy is more than noise"
    console.print(Text(f"\n{said} (McNemar's exact test, Holm's adjustment for {len(found)})"))


def show_judged(found: Judged) -> None:
    """How a scorer agrees with people, by what makes a pair hard, and where it does not."""
    console = printer()
    table = _table(f"{plain(found.scorer)} against people, in %, with 95 % intervals")
    table.add_column("kind", style="bold", no_wrap=True)
    for column in ("pairs", "agreed", "too kind", "too strict", "no verdict"):
        table.add_column(column, justify="right", no_wrap=True)
    for kind, agreement in [*found.kinds.items(), ("all", found.all)]:
        counts = (agreement.too_kind, agreement.too_strict, agreement.no_verdict)
        table.add_row(
            kind,
            f"{agreement.n:,}",
            _said(percent(agreement.agreed / agreement.n if agreement.n else None, agreement.interval)),
            *(f"{count:,}" for count in counts),
        )
    console.print(table)
    console.print()
    for pair, says in found.disagreements[:MOST]:
        said = "no verdict" if says is None else "right" if says else "wrong"
        asked = f"{pair.kind}: {pair.question} {' / '.join(pair.references)!r}, predicted {pair.prediction!r}"
        console.print(Text(f"{plain(asked)}: says {said}"))
    if len(found.disagreements) > MOST:
        console.print(Text(f"and {len(found.disagreements) - MOST:,} more: --json has all"))


def _accuracies(summary: Summary) -> Table:
    table = _table(f"{summary.n:,} questions; shares in %, with 95 % intervals")
    table.add_column("strategy", style="bold", no_wrap=True)
    for column in ("accuracy", "coarse", "fine", "tokens", "calls"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, scores in summary.strategies.items():
        table.add_row(
            plain(name),
            _said(percent(scores.accuracy, scores.accuracy_interval)),
            _said(percent(scores.accuracy_coarse, scores.accuracy_coarse_interval)),
            _said(percent(scores.accuracy_fine, scores.accuracy_fine_interval)),
            _said(percent(scores.visual_tokens_ratio)),
            _said(percent(scores.call_ratio)),
        )
    return table


def _manners(summary: Summary) -> Table:
    table = _table("how: calls not well-formed, boxes that hold the evidence, seconds a question")
    table.add_column("strategy", style="bold", no_wrap=True)
    for column in ("malformed", "box", "no answer", "turns", "median s", "95th s", "cost $"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, scores in summary.strategies.items():
        table.add_row(
            plain(name),
            _said(percent(scores.malformed)),
            _said(percent(scores.box_covers_evidence)),
            _said(percent(scores.no_answer)),
            *(_said(number(value)) for value in (scores.turns, scores.seconds_median, scores.seconds_p95, scores.cost)),
        )
    return table


def _against(baseline: str, found: Mapping[str, Paired]) -> Table:
    table = _table(f"against {baseline}, question by question; * p < {LOW}, ** p < {HIGH}")
    table.add_column("strategy", style="bold", no_wrap=True)
    for column in ("difference", "p", "gain", "harm", "calls mended", "calls broke"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, pair in found.items():
        stars = "**" if pair.p < HIGH else "*" if pair.p < LOW else ""
        counts = (pair.gain, pair.harm, pair.mended, pair.broken)
        table.add_row(
            plain(name),
            _said(signed(pair.difference, pair.interval)),
            f"{pair.p:.2g}{stars}",
            *(f"{n:,}" for n in counts),
        )
    return table


def _said(figure: str) -> Text:
    """A figure, whose interval, and whose absence, are dim."""
    value, bracket, interval = figure.partition(" [")
    return Text(value, style="dim" if value == "-" else "").append(bracket + interval, style="dim")


def _table(title: str) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
