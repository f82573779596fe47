"""The command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from agentic_vision.cli import app


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def in_a_shell(*args: object, before: str = "", path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The console script's own function in a fresh interpreter, after `before`."""
    code = f"{before}\nfrom agentic_vision.cli import main\nmain()"
    env = {**os.environ, "PYTHONPATH": str(path or "")}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)
