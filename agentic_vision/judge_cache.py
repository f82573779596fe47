"""Verdicts on disk, shared by training and evaluation and by any number of processes."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path

from platformdirs import user_cache_path

from .errors import ConfigError

_LOG = logging.getLogger(__name__)
_WAIT = 30.0  # seconds for another process's write


def shared_cache() -> Path:
    """Where this user's verdicts are kept when no place is named: one file for all runs and evaluations."""
    return user_cache_path("agentic_vision") / "verdicts.sqlite"


class JudgeCache:
    """A SQLite file of verdicts. What cannot be written (a full disk) is logged once and asked for again next time."""

    def __init__(self, path: str | Path) -> None:
        """Opens or makes the file at `path`; raises `ConfigError` where it cannot, or where it is another file."""
        self.path = Path(path).resolve()
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._warned = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot keep verdicts in {self.path} ({error}): give the path of a new file in a folder that can be "
                "written"
            ) from error

    def _prepare(self) -> None:
        given_up = time.monotonic() + _WAIT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS verdicts "
                    "(key TEXT PRIMARY KEY, correct INTEGER NOT NULL, reply TEXT NOT NULL, asked TEXT NOT NULL)"
                )
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself while another process makes the same file.
                if "locked" not in str(error) or time.monotonic() > given_up:
                    raise
                time.sleep(0.01)

    def get(self, key: str) -> tuple[bool, str] | None:
        """The verdict under `key` and the reply that gave it.

        Waits while `put` does: not for an event loop's own thread.
        """
        try:
            with self._lock:
                row = self._connection.execute("SELECT correct, reply FROM verdicts WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._warn(error)
            return None
        return (bool(row[0]), row[1]) if row else None

    def put(self, key: str, correct: bool, reply: str, asked: str) -> None:
        """Keeps a verdict; `asked` says in JSON what was judged, for people who look into the file.

        Waits while another process writes: not for an event loop's own thread.
        """
        try:
            with self._lock:
                self._connection.execute(
                    "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?)", (key, int(correct), reply, asked)
                )
        except sqlite3.Error as error:
            self._warn(error)

    def _warn(self, error: sqlite3.Error) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning("the judge's cache %s cannot be used (%s): verdicts are asked for anew", self.path, error)

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.path = state["path"]
        self._open()
