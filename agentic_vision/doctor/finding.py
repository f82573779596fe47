"""What a check found: a name, a state, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """ABSENT is an extra that nobody needs who does not use it; WARNING a setting without effect. Only BROKEN fails."""

    OK = "ok"
    ABSENT = "absent"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """`detail`: what was found. `mend`: what to do, a command where there is one."""

    name: str
    state: Health
    detail: str
    mend: str | None = None


def broken(name: str, error: BaseException, mend: str) -> Finding:
    """A check that raised."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return Finding(name, Health.BROKEN, said[:500], mend)
