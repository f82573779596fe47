"""What `agentic-vision doctor` prints: a table for people, one object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from agentic_vision.cli_output import plain, printer

from .finding import Finding, Health

_STYLES = {Health.OK: "green", Health.ABSENT: "dim", Health.WARNING: "yellow", Health.BROKEN: "bold red"}


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """`works`: nothing that is installed is broken."""
    works = all(finding.state is not Health.BROKEN for finding in findings)
    return {"works": works, "checks": [asdict(finding) for finding in findings]}


def show(findings: Sequence[Finding]) -> None:
    """A row a finding, its mend below it; the verdict last."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("state", "name", "found"):
        table.add_column(column, no_wrap=column != "found")
    for finding in findings:
        found = Text(plain(finding.detail))
        if finding.mend is not None:
            found.append(f"\n-> {plain(finding.mend)}", style="cyan")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), Text(plain(finding.name)), found)
    console = printer()
    console.print(table)
    broken = [finding.name for finding in findings if finding.state is Health.BROKEN]
    verdict = f"broken: {', '.join(broken)}" if broken else "what is installed works"
    console.print(Text(f"\n{plain(verdict)}", style="bold red" if broken else "bold green"))
