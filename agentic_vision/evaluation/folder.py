"""The folder of an evaluation: each outcome in it once, whenever the process is killed and whatever is damaged.

settings.json        what decides over the answers; a folder is not continued with other settings
trajectories.jsonl   an `Outcome` a line, written as each comes
damaged.jsonl        lines found there that are no outcomes, put aside; their questions are asked again
summary.json         the figures
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from ..only_writer import only_writer
from ..rows import Row
from ..whole_file import Lines, replacing, write_whole
from .outcomes import Outcome

TRAJECTORIES, SUMMARY, SETTINGS, DAMAGED = "trajectories.jsonl", "summary.json", "settings.json", "damaged.jsonl"
_LOCK = ".lock"
_LOG = logging.getLogger(__name__)


class Folder:
    """An evaluation's folder, made by `opened`."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = dict(settings)
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._lines = 0
        whole, torn, end = read_outcomes(path)
        if end is not None:
            os.truncate(path / TRAJECTORIES, end)
        for outcome in whole:
            self._keep(outcome)
        self._check()
        if torn:
            with (path / DAMAGED).open("ab") as aside:
                aside.writelines(torn)
            told = f"{len(torn)} damaged lines of {path / TRAJECTORIES} are in {DAMAGED} now: they are asked again"
            _LOG.warning(told)
            self._lines += len(torn)
        self.tidy()
        self._log = Lines(path / TRAJECTORIES)

    def finished(self, row: Row, strategy: str) -> Outcome | None:
        """The outcome of a row, in trouble or not. Raises `ConfigError` where it is another row's of the same id."""
        outcome = self._outcomes.get((row.id, strategy))
        if outcome is not None and outcome.asked != self.asked(row):
            raise ConfigError(
                f"{self.path} holds the outcome of another question, or of other settings, under the id {row.id!r}: "
                "give a fresh folder"
            )
        return outcome

    def asked(self, row: Row) -> str:
        """The digest of a row under these settings."""
        asked = {"row": row.model_dump(mode="json", exclude={"images"}), "settings": self._settings}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, outcome: Outcome) -> None:
        """Add a line; it is in the file when this returns. It takes the place of one in trouble.

        Raises `OSError` where there is no room for it.
        """
        self._log.add(outcome.model_dump_json().encode("utf-8", "replace") + b"\n")
        self._keep(outcome)

    def close(self) -> None:
        """Nothing more is written."""
        self._log.close()
        self.tidy()

    def tidy(self) -> None:
        """The file without lines that others took the place of, at once: a kill leaves the one or the other."""
        if self._lines == len(self._outcomes):
            return
        with replacing(self.path / TRAJECTORIES) as file:
            for outcome in self._outcomes.values():
                file.write(outcome.model_dump_json().encode("utf-8", "replace") + b"\n")
        self._lines = len(self._outcomes)

    def _keep(self, outcome: Outcome) -> None:
        self._outcomes[outcome.row, outcome.strategy] = outcome
        self._lines += 1

    def _check(self) -> None:
        """Raises `ConfigError` where it was begun with other settings. Damaged ones are written anew."""
        path = self.path / SETTINGS
        now = json.loads(json.dumps(self._settings))
        before = None
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
                changed = [f"{key}={before.get(key)!r}, now {now[key]!r}" for key in now if before.get(key) != now[key]]
            except (ValueError, AttributeError):
                _LOG.warning("%s is damaged and was written anew", path)
                before = None
            else:
                if changed and self._outcomes:
                    raise ConfigError(
                        f"{self.path} holds an evaluation with other settings ({'; '.join(changed)}): take those, or "
                        "give a fresh folder"
                    )
        if before != now:
            write_whole(path, (json.dumps(now, indent=2) + "\n").encode())


@contextmanager
def opened(path: Path, settings: Mapping[str, Any]) -> Iterator[Folder]:
    """The folder, for this process alone.

    Raises `ConfigError` where it cannot be written, holds an evaluation with other settings, or another run writes it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("w")
    except OSError as error:
        raise ConfigError(
            f"cannot use the folder {path} ({error.strerror}): give one that is yours to write"
        ) from error
    with lock:
        only_writer(lock, path)
        folder = Folder(path, settings)
        try:
            yield folder
        finally:
            folder.close()


def by_strategy(path: str | os.PathLike[str]) -> dict[str, dict[str, Outcome]]:
    """The outcomes in a folder, by strategy and then by row. Raises `ConfigError` where it holds no evaluation."""
    outcomes, _, _ = read_outcomes(Path(path))
    if not outcomes:
        raise ConfigError(f"{path} holds no evaluation ({TRAJECTORIES}): give the --out of `agentic-vision eval`")
    found: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.strategy, {})[outcome.row] = outcome
    return found


def read_outcomes(path: Path) -> tuple[list[Outcome], list[bytes], int | None]:
    """The outcomes in a folder, the lines there that are none, and where a last line begins that is not whole: a kill
    cut it short, or it is being written.
    """
    file = path / TRAJECTORIES
    whole: list[Outcome] = []
    torn: list[bytes] = []
    if not file.exists():
        return whole, torn, None
    with file.open("rb") as lines:
        end = 0
        for line in lines:
            if not line.endswith(b"\n"):
                return whole, torn, end
            end += len(line)
            try:
                whole.append(Outcome.model_validate_json(line))
            except ValidationError:
                torn.append(line)
    return whole, torn, None
