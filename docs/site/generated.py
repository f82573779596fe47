"""Which pages are made when the site is built? The command line's reference, and what stands elsewhere here.

MkDocs runs this as a hook. Nothing in these pages is written twice: the commands tell of themselves, and model cards
and SECURITY.md are read where they are.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from typer.main import get_command

from agentic_vision.cli import app

ROOT = Path(__file__).parent.parent.parent
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security_policy.md",
    "agentic_vision/policies/embedded_checkpoint/README.md": "model_card.md",
    "training/warm_start/open_decision/README.md": "open_decision.md",
}
"""Files of the repository that are pages here."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for path, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=from_elsewhere(path)))
    files.append(File.generated(config, "reference/command_line.md", content=command_line()))
    return files


def from_elsewhere(path: str) -> str:
    """The text of a file of the repository, its links leading to pages."""

    def linked(match: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(path).parent / match[1])
        return f"]({ELSEWHERE.get(target, target.removeprefix('docs/'))}{match[2] or ''})"

    text = (ROOT / path).read_text(encoding="utf-8")
    return re.sub(r"\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)", linked, text)


def command_line() -> str:
    """Every command, its arguments and options."""
    parts = [
        "# Command line",
        "This page is made of the commands themselves: `agentic-vision COMMAND --help` says the same.",
        "Exit codes: 0 done, 1 no answer or not all answers, 2 bad usage or bad input, with one line on stderr that "
        "says what is wrong and how to mend it.",
    ]
    root: Any = get_command(app)
    for name, command in commands(root, "agentic-vision"):
        parts += section(name, command)
    return "\n\n".join(parts) + "\n"


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, with their full names."""
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    context = command.make_context(name, [], resilient_parsing=True)
    for inner in command.list_commands(context):
        yield from commands(command.get_command(context, inner), f"{name} {inner}")


def section(name: str, command: Any) -> Iterator[str]:
    """One command's heading, usage, help and table."""
    context = command.make_context(name, [], resilient_parsing=True)
    yield f"## {name}"
    yield f"```text\n{' '.join(command.get_usage(context).removeprefix('Usage: ').split())}\n```"
    for paragraph in (command.help or "").split("\n\n"):
        said, example, shown = paragraph.partition("Example: ")
        yield " ".join(said.split())
        if example:
            yield f"```sh\n{shown.strip()}\n```"
    rows = [row for parameter in command.params if (row := table_row(parameter, context))]
    if rows:
        yield "\n".join(["| argument or option | what it is |", "|---|---|", *rows])


def table_row(parameter: Any, context: Any) -> str | None:
    """An argument or an option, with its default."""
    record = parameter.get_help_record(context)
    if record is None or "--help" in parameter.opts:
        return None
    names, said = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{names}` | {said} |"


def on_post_build(config: MkDocsConfig) -> None:
    """Lists the links that lead elsewhere, which nobody follows here; what a page would load from there is an error."""
    links: set[str] = set()
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        page = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\ssrc="?((?:https?:)?//[^\s">]+)', page)
        loaded += re.findall(
            r'<link\b(?=[^>]*rel="?(?:stylesheet|preconnect|icon))[^>]*href="?((?:https?:)?//[^\s">]+)', page
        )
        if loaded:
            raise PluginError(f"{path} loads {loaded[0]}: pages must be whole without a network")
        links.update(re.findall(r'<a\b[^>]*href="?(https?://[^\s">]+)', page))
    listed = Path(config.site_dir) / "external_links.txt"
    listed.write_text("".join(f"{link}\n" for link in sorted(links)), encoding="utf-8")
