"""Where does a peer run? In a virtual environment of its own, made once, our library installed beside it.

An environment is used again as long as the peer's requirements, our own (`pyproject.toml`) and Python stay the same; of
our code it sees what it is now.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAMP = "made-of.txt"


class UnavailableError(Exception):
    """A peer that cannot be measured here, and why."""


@dataclass(frozen=True)
class Environments:
    """The environments below `folder`; `beside` is what pip is told to install beside every peer."""

    folder: Path
    beside: Sequence[str] = ("-e", str(ROOT))

    def python(self, name: str, requirements: Path) -> Path:
        """The interpreter of the environment of this name, which has the requirements.

        Raises `UnavailableError` with pip's reason where they cannot be installed.
        """
        home = self.folder / name
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        stamp = self._stamp(requirements)
        made = home / STAMP
        if made.is_file() and made.read_text(encoding="utf-8") == stamp:
            return python
        venv.create(home, clear=True, with_pip=False)
        # The pip that is here works for the other environment too, so that none has to be put into each.
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        done = subprocess.run([*command, "-r", str(requirements), *self.beside], capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"cannot be installed: {reason(done.stderr)}")
        made.write_text(stamp, encoding="utf-8")
        return python

    def _stamp(self, requirements: Path) -> str:
        parts = [sys.version, *self.beside, *(path.read_text() for path in (requirements, ROOT / "pyproject.toml"))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def reason(stderr: str) -> str:
    """The line that says what went wrong: pip's first ERROR, or the last line of a traceback."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:] or ["no reason was given"])[0]
