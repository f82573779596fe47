"""The pages of the documentation, README among them, as the tests read them: code blocks, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:<!-- compiled only: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
_SNIPPET = re.compile(r'^--8<-- "([^":]+)', re.M)


@dataclass(frozen=True)
class Block:
    """A code block. `printed`: the text block right behind it. `compiled_only`: why it cannot run."""

    page: Path
    line: int
    language: str
    code: str
    printed: str | None = None
    compiled_only: str | None = None


def blocks(page: Path, *languages: str) -> list[Block]:
    """The code blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    made = []
    for at, block in enumerate(found):
        behind = found[at + 1] if at + 1 < len(found) else None
        near = behind is not None and behind["language"] == "text" and not text[block.end() : behind.start()].strip()
        printed = behind["code"] if behind is not None and near else None
        line = text.count("\n", 0, block.start("code")) + 1
        made.append(Block(page, line, block["language"], block["code"], printed, block["why"]))
    return [block for block in made if block.language in languages]


def files(page: Path) -> list[Path]:
    """The files of the repository that stand in a page, whole or in part."""
    return [ROOT / path for path in _SNIPPET.findall(page.read_text(encoding="utf-8"))]


def commands(code: str) -> Iterator[list[str]]:
    """The words behind `agentic-vision` of every such command in a shell's code."""
    for line in code.replace("\\\n", "").splitlines():
        for said in re.findall(r"(?:^|[\s/])agentic-vision (.+)", line):
            words = shlex.split(re.split(r" && | \| | > ", said)[0], comments=True)
            yield words


def name(page: Path) -> str:
    """The page's path, for the names of tests."""
    return str(page.relative_to(ROOT))
