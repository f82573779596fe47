"""What is a report of a run that is going? One that is written anew whenever the run's files grow, until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..evaluation.folder import SUMMARY, TRAJECTORIES
from .training_runs import METRICS, RECIPE

WATCHED = (TRAJECTORIES, SUMMARY, METRICS, RECIPE)
POLL_SECONDS = 0.5
RELOAD_SECONDS = 5.0
BUSY = 4  # times as long as writing took, there is a rest


def watch(folders: Iterable[Path], write: Callable[[], bool]) -> None:
    """Call `write` now, and again whenever the files in `folders` have changed, until it says that all is done."""
    places = list(folders)
    while True:
        before, began = _state(places), time.monotonic()
        if write():
            return
        time.sleep(max(POLL_SECONDS, BUSY * (time.monotonic() - began)))
        while _state(places) == before:
            time.sleep(POLL_SECONDS)


def _state(folders: Iterable[Path]) -> list[tuple[Path, int, int]]:
    """The files that a report is made of, with their sizes and when they were written."""
    found = []
    for folder in folders:
        # What is begun has its files at the top, and perhaps very many images below.
        depths = ("",) if any((folder / name).exists() for name in WATCHED) else ("*/", "*/*/")
        for name in WATCHED:
            for path in sorted(path for depth in depths for path in folder.glob(f"{depth}{name}")):
                try:
                    known = path.stat()
                except OSError:  # it was just replaced or put away
                    continue
                found.append((path, known.st_size, known.st_mtime_ns))
    return found
