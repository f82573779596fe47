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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from ..messages import Trajectory
from ..only_writer import only_writer
from ..rows import Row
from ..same_settings import differences
from ..whole_file import Lines, replacing, write_whole
from ..whole_text import whole
from .outcomes import Outcome, Trouble

TRAJECTORIES, SUMMARY, SETTINGS, DAMAGED = "trajectories.jsonl", "summary.json", "settings.json", "damaged.jsonl"
_LOCK = ".lock"
_LOG = logging.getLogger(__name__)


class Folder:
    """An evaluation's folder, made by `opened`. In memory are the figures; trajectories stay in the file."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._file = path / TRAJECTORIES
        self._settings = dict(settings)
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._images: dict[str, tuple[str, ...]] = {}  # the digests of a row's
        self._places: dict[tuple[str, str], tuple[int, int]] = {}  # of their lines, in bytes
        torn, self._end = [], 0
        for line in _whole_lines(self._file):
            outcome = _outcome(line)
            if outcome is None:
                torn.append(line)
                self._end += len(line)
            else:
                self._keep(outcome, len(line))
        self._check()
        if torn:
            with (path / DAMAGED).open("ab") as aside:
                aside.writelines(torn)
            _LOG.warning("%d damaged lines of %s are in %s now: they are asked again", len(torn), self._file, DAMAGED)
        self._tidy()
        self._log = Lines(self._file)

    def outcome_of(self, row: Row, strategy: str) -> Outcome | None:
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

    def check_images(self, rows: Iterable[Row]) -> None:
        """Raises `ConfigError` where a row has an outcome here, of other images under the same paths.

        Only what is a file is looked at, and what has gone since is no other image.
        """
        digest = lru_cache(maxsize=1024)(_digest)  # rows one after another often have an image in common
        for row in rows:
            known = self._images.get(row.id)
            if known is not None and None not in (now := tuple(map(digest, row.images))) and now != known:
                raise ConfigError(
                    f"{self.path} holds the outcome of other images under the id {row.id!r}: give a fresh folder"
                )

    def write(self, outcome: Outcome) -> None:
        """Add a line; it is in the file when this returns. It takes the place of one in trouble.

        Raises `OSError` where there is no room for it.
        """
        line = as_json(outcome)
        self._log.add(line)
        self._keep(outcome, len(line))

    def close(self) -> None:
        """Nothing more is written."""
        self._log.close()
        self._tidy()

    def _keep(self, outcome: Outcome, length: int) -> None:
        key = outcome.row, outcome.strategy
        # The judge alone is asked again about one without a verdict, which is then written with its trajectory.
        whole = outcome.trouble is Trouble.NO_VERDICT
        self._outcomes[key] = outcome if whole else outcome.model_copy(update={"trajectory": None})
        if outcome.ran and outcome.trajectory is not None:
            self._images[outcome.row] = tuple(source.digest for source in outcome.trajectory.sources)
        self._places[key] = self._end, self._end + length
        self._end += length

    def _tidy(self) -> None:
        """The file without lines that others took the place of, at once: a kill leaves the one or the other."""
        if (
            not self._file.exists()
            or sum(end - start for start, end in self._places.values()) == self._file.stat().st_size
        ):
            return
        places, self._end = sorted(self._places.items(), key=lambda item: item[1]), 0
        with self._file.open("rb") as old, replacing(self._file) as new:
            for key, (start, end) in places:
                old.seek(start)
                new.write(old.read(end - start))
                self._places[key] = self._end, self._end + end - start
                self._end += end - start

    def _check(self) -> None:
        """Raises `ConfigError` where it was begun with other settings. Damaged ones are written anew."""
        path = self.path / SETTINGS
        now = json.loads(json.dumps(self._settings))
        before = None
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
                changed = differences(path.read_bytes(), now)
            except ValueError:
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


def as_json(value: BaseModel, indent: int | None = None) -> bytes:
    """`value` as it is stored, with a line break; texts of tools and policies may hold halves of characters."""
    return (whole(json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=indent)) + "\n").encode()


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


def has_outcome(path: str | os.PathLike[str]) -> bool:
    """Whether there is an outcome in a folder."""
    return any(_outcome(line) is not None for line in _whole_lines(Path(path) / TRAJECTORIES))


def by_strategy(path: str | os.PathLike[str]) -> dict[str, dict[str, Outcome]]:
    """The outcomes in a folder, by strategy and then by row, without their trajectories.

    Lines that are damaged, or are being written, are passed over. Raises `ConfigError` where there is no outcome.
    """
    found: dict[str, dict[str, Outcome]] = {}
    for line in _whole_lines(Path(path) / TRAJECTORIES):
        if (outcome := _outcome(line)) is not None:
            found.setdefault(outcome.strategy, {})[outcome.row] = outcome.model_copy(update={"trajectory": None})
    if not found:
        raise ConfigError(f"{path} holds no evaluation ({TRAJECTORIES}): give the --out of `agentic-vision eval`")
    return found


def trajectories(
    path: str | os.PathLike[str], wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Trajectory]:
    """The trajectories of some rows and strategies in a folder, as far as there are any."""
    found = {}
    for line in _whole_lines(Path(path) / TRAJECTORIES):
        outcome = _outcome(line) if _key(line) in wanted else None  # the names alone are read ten times as fast
        if outcome is not None and outcome.trajectory is not None:
            found[outcome.row, outcome.strategy] = outcome.trajectory
    return found


def _whole_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, but for a last one that is not finished: a kill cut it short, or it is being written."""
    if file.exists():
        with file.open("rb") as lines:
            yield from (line for line in lines if line.endswith(b"\n"))


class _Key(BaseModel):
    row: str
    strategy: str


def _key(line: bytes) -> tuple[str, str] | None:
    try:
        key = _Key.model_validate_json(line)
    except ValidationError:
        return None
    return key.row, key.strategy


def _outcome(line: bytes) -> Outcome | None:
    try:
        return Outcome.model_validate_json(line)
    except ValidationError:
        return None


def _digest(image: str) -> str | None:
    """As `Source.digest` of a file; None for what is none."""
    if not os.path.isfile(image):
        return None
    try:
        return hashlib.sha256(Path(image).read_bytes()).hexdigest()
    except OSError:
        return None
