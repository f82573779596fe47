"""Which images may a client name? `data:` URIs, and files in the folders that the server was given: nothing else.

What is outside is refused in one way, whether or not there is a file, so that a client learns nothing of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import ConfigError, ImageError
from ..image_limits import ImageLimits
from ..source import Source

LONGEST_LABEL = 200  # characters of what the client wrote that are told back to it


class Roots:
    """The folders whose images may be read, by paths in them, absolute paths and `file:` URIs.

    Raises `ConfigError` for a folder that is none.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"the root {folder} is not a folder: give one that exists")
        self._declared = [Path(os.path.abspath(folder)) for folder in folders]
        self._real = [Path(os.path.realpath(folder)) for folder in folders]

    def __str__(self) -> str:
        return ", ".join(map(str, self._declared))

    def open(self, image: str) -> tuple[Source, int]:
        """The image, and the bytes that its file has. Raises `ImageError` for what may not or cannot be read."""
        if image[:5].lower() == "data:" or image[:8].lower().startswith(("http://", "https://")):
            return Source.open(image), len(image)  # which fetches no URL, and says so
        label = image[:LONGEST_LABEL]
        try:
            data = _read(self._inside(_path(image), label), label)
        except FileNotFoundError as error:
            raise ImageError(f"there is no file {label} in {self}: check the path") from error
        except OSError as error:
            raise ImageError(
                f"{label} cannot be read ({error.strerror}): check the path and its permissions"
            ) from error
        except ValueError as error:  # a path that no system has: a zero byte, half of a surrogate pair
            raise ImageError(f"{label!r} cannot be a path ({error}): check it") from error
        return Source(label, data=data), len(data)

    def _inside(self, path: Path, label: str) -> Path:
        """Where the file is, links followed. Raises `ImageError` where that is outside."""
        if ".." in path.parts:  # its way may lead through the outside, and would tell what is there
            raise ImageError(f"{label} goes up a folder: write its path without '..', inside {self}")
        if not path.is_absolute():
            candidates = [root / path for root in self._real]
        else:
            known = any(path.is_relative_to(root) for root in (*self._declared, *self._real))
            candidates = [path] if known else []
        real = [Path(os.path.realpath(candidate)) for candidate in candidates]
        inside = [file for file in real if any(file.is_relative_to(root) for root in self._real)]
        if not inside:
            raise ImageError(f"{label} is outside of what this server may read: give an image inside {self}")
        return next((file for file in inside if os.path.exists(file)), inside[0])


def _path(image: str) -> Path:
    if image[:5].lower() != "file:":
        return Path(image)
    uri = urlsplit(image)
    if uri.netloc not in ("", "localhost"):
        raise ImageError(f"{image[:LONGEST_LABEL]} is on another machine: write file:///path, or the path")
    return Path(url2pathname(uri.path))


def _read(path: Path, label: str) -> bytes:
    """The bytes of a regular file: opening never waits for a pipe, nor follows a link put there meanwhile."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, usual: os.open(name, usual | flags)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ImageError(f"{label} is not a file: give the path of an image file")
        limits = ImageLimits.current()
        data = file.read(limits.max_image_bytes + 1)
    limits.check_bytes(label, len(data))
    return data
