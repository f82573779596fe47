"""What is in a file after a kill, or when the disk is full? All of what was written, or what was there before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO


class Lines:
    """A file to which whole lines are added; each is in it when `add` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = FileIO(path, "ab")  # without a buffer: what could not be written is not tried again at the end

    def add(self, line: bytes) -> None:
        """Add `line`, which ends in a line break. Raises `OSError` where there is no room: then nothing of it is there.

        A kill may leave a part of it, as the last line.
        """
        with _naming(self.path):
            before = os.fstat(self.file.fileno()).st_size
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[self.file.write(rest) :]
            except OSError:
                self.file.truncate(before)
                raise

    def close(self) -> None:
        """Nothing more is added."""
        self.file.close()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to be written in the block, which takes the place of `path` at its end, and at once."""
    part = path.with_name(path.name + ".part")
    with _naming(path):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)  # where the disk is full, it stands in the way
            raise


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Put `data` in the place of what `path` holds. Raises `OSError` where it cannot: then that stays."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a pipe or a device, which cannot be replaced
        path.write_bytes(data)
        return
    with replacing(path) as file:
        file.write(data)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors say which file they are about: those of a full disk do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
