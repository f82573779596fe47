"""Where do the outcomes of a batch go? Into a JSONL file, a line a row, each row once, whenever the process is killed.

A line is written when its row is finished, and never changed. When the file is opened again, a last line that a kill
cut short is taken off, and so are the lines of rows that are to be asked again: until they have an outcome once more,
they are rows that were not asked yet. So no id is ever in the file twice, and in the end every one is there.

Beside it stands `FILE.settings.json`: a file is not continued with another policy or other limits, nor by two
processes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ..cli_output import calls_json
from ..errors import ConfigError
from ..messages import Record, StopReason, Trajectory, Usage
from ..only_writer import only_writer
from ..same_settings import differences
from ..whole_file import Lines, replacing
from ..whole_text import whole
from .rows import BatchRow
from .tally import Tally


class BatchOutcome(Record):
    """A line of the file. `stop_reason` is `bad_row` where the row could not be asked; `row` is the row's digest."""

    id: str
    answer: str | None = None
    stop_reason: StopReason | Literal["bad_row"]
    detail: str | None = None
    usage: Usage = Usage()
    tool_calls: tuple[dict[str, Any], ...] = ()
    row: str

    @classmethod
    def of(cls, row: BatchRow, trajectory: Trajectory) -> BatchOutcome:
        """That of a row which was asked."""
        return cls(
            id=row.id,
            answer=trajectory.answer,
            stop_reason=trajectory.stop_reason,
            detail=trajectory.detail,
            usage=trajectory.usage,
            tool_calls=tuple(calls_json(trajectory)),
            row=row.digest,
        )

    @classmethod
    def without(cls, row: BatchRow, stop_reason: StopReason | Literal["bad_row"], detail: str) -> BatchOutcome:
        """That of a row without a trajectory."""
        return cls(id=row.id, stop_reason=stop_reason, detail=whole(detail), row=row.digest)

    @property
    def again(self) -> bool:
        """Whether the next run asks again: the policy may be back, the image may be mended."""
        return self.stop_reason in (StopReason.POLICY_FAILED, "bad_row")


class Answers:
    """The file, opened by `answers`. `tally` counts what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tally = Tally()
        self._done: dict[bytes, str] = {}  # of 100,000 rows some 20 MB: ids may be long, their keys are not
        self._dropped: list[tuple[int, int]] = []  # bytes of the file
        self._file: Lines | None = None
        if path.exists():
            self._scan()

    def begin(self, rows: Iterable[BatchRow]) -> None:
        """Check the rows, all of them, against what is in the file; then make it ready for the others.

        Raises `ConfigError` where an id comes twice, or what is asked under an id has changed.
        """
        seen: set[bytes] = set()
        known = 0
        for row in rows:
            key = _key(row.id)
            if key in seen:
                raise ConfigError(f"the id {row.id!r} comes twice: make ids unique, or leave them all out")
            seen.add(key)
            before = self._done.get(key)
            if before is not None and before != row.digest:
                raise ConfigError(
                    f"{self.path} holds the answer to another question or image under the id {row.id!r}: give the row "
                    "a new id, or the batch another file (--out)"
                )
            known += before is not None
        self.tally.rows = len(seen)
        self.tally.gone = len(self._done) - known
        if self._dropped:
            self._rewrite()
        self._file = Lines(self.path)

    def holds(self, row: BatchRow) -> bool:
        """Whether the row has its outcome."""
        return _key(row.id) in self._done

    def write(self, outcome: BatchOutcome) -> None:
        """Add a line; it is in the file when this returns. Raises `OSError` where there is no room for it."""
        assert self._file is not None
        line = json.dumps(outcome.model_dump(mode="json"), ensure_ascii=False)
        self._file.add(whole(line).encode() + b"\n")
        self.tally.add(outcome)

    def close(self) -> None:
        """Nothing more is written."""
        if self._file is not None:
            self._file.close()

    def _scan(self) -> None:
        start = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                end = start + len(line)
                if not line.endswith(b"\n"):
                    self._dropped.append((start, end))
                    break
                try:
                    outcome = BatchOutcome.model_validate_json(line)
                except ValidationError as error:
                    raise ConfigError(
                        f"{self.path}, line {number}, is no outcome of a batch: mend it, or give another file (--out)"
                    ) from error
                key = _key(outcome.id)
                if outcome.again or key in self._done:
                    self._dropped.append((start, end))
                else:
                    self._done[key] = outcome.row
                    self.tally.add(outcome)
                start = end

    def _rewrite(self) -> None:
        """The file without what was dropped, in its place at once: a kill leaves the one or the other."""
        with self.path.open("rb") as old, replacing(self.path) as new:
            for start, end in [*self._dropped, (self.path.stat().st_size, 0)]:
                while (room := start - old.tell()) > 0:
                    new.write(old.read(min(room, 2**20)))
                old.seek(end)
        self._dropped = []


@contextmanager
def answers(path: str | os.PathLike[str], settings: Mapping[str, Any], *, begun: bool = False) -> Iterator[Answers]:
    """The file of outcomes, for this process alone. `begun`: the settings hold, though there may be no outcome yet.

    Raises `ConfigError` where it was made with other settings, is no such file, or another process writes it.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device would be read without end
        raise ConfigError(f"{path} is no file: give one for the answers, such as answers.jsonl (--out)")
    beside = path.with_name(path.name + ".settings.json")
    if _size(path) and not beside.exists():
        raise ConfigError(f"{path} was not made by a batch ({beside.name} is missing): give another file (--out)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = beside.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write {path} ({error.strerror}): give a file that is yours to write (--out)"
        ) from error
    with stored:
        only_writer(stored, path)
        if not begun and not _size(
            path
        ):  # a kill may have left the settings half written, and then there are no answers yet
            stored.truncate(0)
            stored.write(json.dumps(settings, indent=2) + "\n")
            stored.flush()
        stored.seek(0)
        _check(stored.read(), settings, path)
        opened = Answers(path)
        try:
            yield opened
        finally:
            opened.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(stored: str, settings: Mapping[str, Any], path: Path) -> None:
    try:
        changed = differences(stored, settings)
    except ValueError as error:
        raise ConfigError(f"{path}.settings.json is broken: give another file (--out)") from error
    if changed:
        raise ConfigError(
            f"{path} was begun with other settings ({'; '.join(changed)}): take those, or give another file (--out)"
        )


def _key(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()[:16]
