"""Where images are kept that were not files, so that their threads can go on in another process.

A folder, a file an image, under the image's digest: what many threads ask about is kept once. What were files stay
where they are.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from pathlib import Path

from PIL import Image

from .errors import ConfigError, ImageError
from .source import Source

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that come back from a PNG as they were


class ImageStore:
    """Keeps the sources of threads in `folder`, which is made if need be."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"images cannot be kept in {self._folder} ({error.strerror}): give a folder that you may write"
            ) from error

    def keep(self, source: Source) -> None:
        """Write the image, once; a file in the file system is left there."""
        if source.path is not None or self._find(source.digest) is not None:
            return
        kind, data = _as_file(source)
        # Never half of it under its name: whoever reads it may be another process.
        try:
            part = self._folder / f"{uuid.uuid4().hex}.part"
            try:
                part.write_bytes(data)
                os.replace(part, self._folder / f"{source.digest}.{kind}")
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigError(
                f"an image cannot be kept in {self._folder} ({error.strerror}): see to the room on its disk, or give "
                "another folder"
            ) from error

    def get(self, digest: str, label: str) -> Source | None:
        """The source of this digest; None where it is not kept. Raises `ImageError` where what is kept is damaged."""
        found = self._find(digest)
        if found is None:
            return None
        try:
            return _source(label, found.suffix, found.read_bytes())
        except Exception as error:  # whatever Pillow makes of the bytes
            raise ImageError(
                f"the image that is kept in {found} is damaged: pass the question's images again"
            ) from error

    def _find(self, digest: str) -> Path | None:
        paths = (self._folder / f"{digest}.{kind}" for kind in ("file", "png", "raw"))
        return next((path for path in paths if path.is_file()), None)


def _source(label: str, suffix: str, data: bytes) -> Source:
    match suffix:
        case ".file":
            return Source(label, data=data)
        case ".png":
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                return Source(label, image=image.copy())
        case _:
            head, _, pixels = data.partition(b"\n")
            mode, width, height, *palette = json.loads(head)
            raw = Image.frombytes(mode, (width, height), pixels)
            if palette:
                raw.putpalette(palette)
            return Source(label, image=raw)


def _as_file(source: Source) -> tuple[str, bytes]:
    """`file`: the bytes as they were given. For what never was a file, `png`, or `raw` for modes that PNG has not."""
    if source.data is not None:
        return "file", source.data
    image, file = source.image, io.BytesIO()
    assert image is not None
    if image.mode not in _PNG:
        return "raw", json.dumps(
            [image.mode, *image.size, *(image.getpalette() or ())]
        ).encode() + b"\n" + image.tobytes()
    image.save(file, "PNG")
    return "png", file.getvalue()
