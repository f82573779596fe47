"""What `agentic-vision eval` prints: tables for people, that fit 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..cli_output import plain, printer
from .compare import Change, Compared
from .judged import Judged
from .paired import Paired
from .statistics import Interval
from .summary import Summary

MOST = 12  # disagreements that are shown
LOW, HIGH = 0.05, 0.001  # p below these gets one mark, two marks


def show_summary(summary: Summary, path: Path) -> None:
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
    console.print(Text(f"Written to {path}: accuracy.png, summary.json; `agentic-vision report {path}` for a page"))


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
            _signed(both.accuracy.difference, both.accuracy.interval),
            f"{both.adjusted:.2g}",
            _change(both.visual_tokens),
            _change(both.calls),
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
            percent(agreement.agreed / agreement.n if agreement.n else None, agreement.interval),
            *(f"{count:,}" for count in counts),
        )
    console.print(table)
    console.print()
    for pair, says in found.disagreements[:MOST]:
        said = "no verdict" if says is None else "right" if says else "wrong"
        asked = f"{pair.kind}: {pair.question} {pair.reference!r}, predicted {pair.prediction!r}"
        console.print(Text(f"{plain(asked)}: says {said}"))
    if len(found.disagreements) > MOST:
        console.print(Text(f"and {len(found.disagreements) - MOST:,} more: --json has all"))


def troubles(summary: Summary) -> list[str]:
    """What has no score, a line each; none where all is well."""
    lines = [
        f"{plain(name)}: {count:,} {trouble.replace('_', ' ')}, not scored: the same command tries them again"
        for name, scores in summary.strategies.items()
        for trouble, count in scores.trouble.items()
    ]
    if summary.faults:
        first = summary.faults[0]
        lines.append(
            f"rows of the data that cannot be used: {len(summary.faults):,}, the first in line {first.line} "
            f"({plain(first.reason)})"
        )
    return lines


def _accuracies(summary: Summary) -> Table:
    table = _table(f"{summary.n:,} questions; shares in %, with 95 % intervals")
    table.add_column("strategy", style="bold", no_wrap=True)
    for column in ("accuracy", "coarse", "fine", "tokens", "calls"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, scores in summary.strategies.items():
        table.add_row(
            plain(name),
            percent(scores.accuracy, scores.accuracy_interval),
            percent(scores.accuracy_coarse, scores.accuracy_coarse_interval),
            percent(scores.accuracy_fine, scores.accuracy_fine_interval),
            percent(scores.visual_tokens_ratio),
            percent(scores.call_ratio),
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
            percent(scores.malformed),
            percent(scores.box_covers_evidence),
            percent(scores.no_answer),
            *(_number(value) for value in (scores.turns, scores.seconds_median, scores.seconds_p95, scores.cost)),
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
            plain(name), _signed(pair.difference, pair.interval), f"{pair.p:.2g}{stars}", *(f"{n:,}" for n in counts)
        )
    return table


def percent(share: float | None, interval: Interval | None = None) -> Text:
    """A share, with its interval where there is one; a dash for None."""
    if share is None:
        return Text("-", style="dim")
    text = Text(f"{100 * share:.1f}")
    return text.append(f" [{100 * interval[0]:.0f}-{100 * interval[1]:.0f}]", style="dim") if interval else text


def _signed(change: float, interval: Interval) -> Text:
    text = Text(f"{100 * change:+.1f}")
    return text.append(f" [{100 * interval[0]:+.1f} {100 * interval[1]:+.1f}]", style="dim")


def _change(change: Change) -> str:
    low, high = change.interval
    clear = "" if low <= 0 <= high else " *"
    return f"{100 * change.before:.1f} -> {100 * change.after:.1f}{clear}"


def _number(value: float | None) -> Text:
    return Text("-", style="dim") if value is None else Text(f"{value:.3g}")


def _table(title: str) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
