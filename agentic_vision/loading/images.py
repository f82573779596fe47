"""Where are a row's images? Those that are no files yet are written, each once, into a folder of ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ImageError, RowError
from ..source import Source
from ..url_rules import is_url
from ..view import Box

LONG = 1000
"""No path is a text so long, and no picture in base64 so short."""


class Images:
    """The images of one data set. `base`: what its paths are relative to. `folder`: for those that are no files."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base.absolute(), folder.absolute()
        self._checked: dict[str, str | None] = {}

    def path(self, image: Any) -> str:
        """The path of an image: a path, bytes, base64, a URL, or the mapping in which `datasets` holds it.

        Raises `RowError` for anything else.
        """
        if isinstance(image, Mapping):
            image = image.get("bytes") or image.get("path")
        if isinstance(image, str):
            return self._written(image)
        if isinstance(image, bytes | bytearray):
            return self._stored(bytes(image))
        raise RowError(f"an image is {type(image).__name__}: give paths or bytes")

    def check(self, path: str) -> None:
        """Raises `RowError` for a file that is missing, or damaged anywhere: it is decoded once, as small as may be."""
        if path not in self._checked:
            self._checked[path] = _trouble(path)
        if (trouble := self._checked[path]) is not None:
            raise RowError(trouble)

    def _written(self, image: str) -> str:
        if image[:5].lower() == "data:":
            try:
                return self._stored(Source.open(image).data or b"")
            except ImageError as error:
                raise RowError(str(error)) from error
        if is_url(image):
            return self._fetched(image)
        if "://" in image[:8]:  # no path: whoever opens it says so
            return image
        if len(image) > LONG:
            try:
                return self._stored(base64.b64decode(image, validate=True))
            except binascii.Error:
                raise RowError(f"an image is neither a path nor base64: {image[:40]!r} ...") from None
        return os.path.join(self.base, image)

    def _fetched(self, url: str) -> str:
        """The file that holds what was found at `url`, once and for all: all who read these rows see the same."""
        path = self._named(url.encode())
        if path.exists():
            return str(path)
        try:
            return self._written_to(path, Source.open(url).data or b"")
        except ImageError as error:
            raise RowError(str(error)) from error

    def _stored(self, data: bytes) -> str:
        """The file that holds `data`, named by its hash."""
        return self._written_to(self._named(data), data)

    def _named(self, name: bytes) -> Path:
        return self.folder / hashlib.sha256(name).hexdigest()[:24]

    def _written_to(self, path: Path, data: bytes) -> str:
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")  # so that a killed run leaves no half of an image
            partial.write_bytes(data)
            os.replace(partial, path)
        return str(path)


def _trouble(path: str) -> str | None:
    try:
        source = Source.open(path)
        width, height = source.size
        source.pixels(Box(x0=0, y0=0, x1=width, y1=height), (1, 1))
    except ImageError as error:
        return str(error)
    return None
