"""A docstring as a tool's description: the text before `Args:`, and what is said of each argument there."""

from __future__ import annotations

import re

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Return|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and the help of each argument of a Google-style `Args:` section."""
    description: list[str] = []
    arguments: dict[str, str] = {}
    section, indent, current = "", None, ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, indent, current = heading.group(1), None, ""
        elif not section:
            description.append(line)
        elif section in ("Args", "Arguments", "Parameters") and line.strip():
            depth = len(line) - len(line.lstrip())
            indent = depth if indent is None else indent
            named = _ARGUMENT.match(line.strip()) if depth <= indent else None
            if named:
                current = named.group(1)
                arguments[current] = named.group(2)
            elif current:
                arguments[current] = f"{arguments[current]} {line.strip()}".strip()
    return "\n".join(description).strip(), arguments
