"""A real browser for the tests of pages: what Chromium makes of a file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: a browser that runs what a page holds")


def opened(path: Path, profile: Path, *options: str) -> str:
    """The page as Chromium has it, when its scripts (if any) have run."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=1000",
            *options,
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")
