"""Which images may a client name? `data:` URIs, files in the folders that the server was given, and URLs by its rules.

What is outside is refused in one way, whether or not there is a file, so that a client learns nothing of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import anyio.to_thread
from mcp.types import ToolAnnotations

from ..errors import ConfigError, ImageError
from ..image_limits import ImageLimits
from ..source import Source
from ..url_rules import UrlRules, is_url

AT_ONCE = 4  # images that are fetched at a time
LONGEST_LABEL = 200  # characters of what the client wrote that are told back to it
_FOLDER = sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_PATH"))  # which need not be listable


class Roots:
    """The folders whose images may be read, by paths in them, absolute paths and `file:` URIs.

    `urls`: the rules for images at http(s) URLs; None is none of them. Raises `ConfigError` for a folder that is none.
    """

    def __init__(self, folders: Sequence[Path], urls: UrlRules | None = None) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"the root {folder} is not a folder: give one that exists")
        self.urls, self._fetching = urls, anyio.Semaphore(AT_ONCE)
        self._declared = [Path(os.path.abspath(folder)) for folder in folders]
        self._real = [Path(os.path.realpath(folder)) for folder in folders]
        # Whoever may write in a root may put a link in the place of another root in it.
        self._outermost = sorted(self._real, key=lambda root: len(root.parts))

    def __str__(self) -> str:
        return ", ".join(map(str, self._declared))

    @property
    def kinds(self) -> str:
        """What an image may be given as, beside a path."""
        return "a data: URI" if self.urls is None else "a data: or http(s) URL"

    async def aopen(self, image: str, limiter: anyio.CapacityLimiter | None = None) -> tuple[Source, int]:
        """`open`, in a thread of `limiter`; and images at URLs, where they are allowed."""
        if self.urls is None or not is_url(image):
            return await anyio.to_thread.run_sync(self.open, image, limiter=limiter)
        from ..fetch import afetch

        async with self._fetching:
            data = await afetch(image, self.urls)
        label = image[:LONGEST_LABEL]
        ImageLimits.current().check_bytes(label, len(data))
        return await anyio.to_thread.run_sync(Source, label, data, limiter=limiter), len(data)

    def open(self, image: str) -> tuple[Source, int]:
        """The image, and the bytes that its file has. Raises `ImageError` for what may not or cannot be read."""
        if is_url(image):
            raise ImageError(
                f"{image[:LONGEST_LABEL]} is a URL, and URLs are not fetched: download it and give the path, or have "
                "the server started with --allow-urls"
            )
        if image[:5].lower() == "data:":
            return Source.open(image), len(image)
        label = image[:LONGEST_LABEL]
        try:
            data = _read(*self._inside(_path(image), label), label)
        except FileNotFoundError as error:
            raise ImageError(f"there is no file {label} in {self}: check the path") from error
        except OSError as error:
            raise ImageError(
                f"{label} cannot be read ({error.strerror}): check the path and its permissions"
            ) from error
        except ValueError as error:  # a path that no system has: a zero byte, half of a surrogate pair
            raise ImageError(f"{label!r} cannot be a path ({error}): check it") from error
        return Source(label, data=data), len(data)

    def _inside(self, path: Path, label: str) -> tuple[Path, Path]:
        """A root, and where in it the file is, links followed. Raises `ImageError` where that is outside."""
        if ".." in path.parts:  # its way may lead through the outside, and would tell what is there
            raise ImageError(f"{label} goes up a folder: write its path without '..', inside {self}")
        if not path.is_absolute():
            candidates = [root / path for root in self._real]
        else:
            known = any(path.is_relative_to(root) for root in (*self._declared, *self._real))
            candidates = [path] if known else []
        real = [Path(os.path.realpath(candidate)) for candidate in candidates]
        inside = [
            (root, file.relative_to(root)) for file in real for root in self._outermost if file.is_relative_to(root)
        ]
        if not inside:
            raise ImageError(f"{label} is outside of what this server may read: give an image inside {self}")
        return next(((root, file) for root, file in inside if os.path.exists(root / file)), inside[0])


def hints(roots: Roots) -> ToolAnnotations:
    """What all tools have in common that look at images of `roots`."""
    return ToolAnnotations(read_only_hint=True, open_world_hint=roots.urls is not None)


def _path(image: str) -> Path:
    if image[:5].lower() != "file:":
        return Path(image)
    uri = urlsplit(image)
    if uri.netloc not in ("", "localhost"):
        raise ImageError(f"{image[:LONGEST_LABEL]} is on another machine: write file:///path, or the path")
    return Path(url2pathname(uri.path))


def _read(root: Path, path: Path, label: str) -> bytes:
    """The bytes of a regular file: opening never waits for a pipe."""
    with open(path, "rb", opener=lambda _, flags: _opened(root, path, flags)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ImageError(f"{label} is not a file: give the path of an image file")
        limits = ImageLimits.current()
        data = file.read(limits.max_image_bytes + 1)
    limits.check_bytes(label, len(data))
    return data


def _opened(root: Path, path: Path, flags: int) -> int:
    """The descriptor of a path without links in `root`: a link put there meanwhile, for any part of it, fails."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if os.open not in os.supports_dir_fd:  # Windows
        return os.open(root / path, flags)
    *folders, name = path.parts or (".",)
    folder = os.open(root, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)
