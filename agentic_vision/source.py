"""Which pixels did the user give? A `Source`: one image, upright, decoded as late and as little as possible.

Only the header is read when a source is opened. Pixels are decoded when a view asks for them, and a JPEG of
which only a small copy is wanted is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg scales inside the DCT),
so that a glance at a large photograph never holds the photograph. What is let in is said by `image_limits` and
looked after by `screening`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image, ImageOps, UnidentifiedImageError

from agentic_vision.errors import ConfigError, ImageError
from agentic_vision.image_limits import ImageLimits
from agentic_vision.quiet_decoders import quiet, silence_libtiff
from agentic_vision.screening import Metered, check_file, check_header, is_slow
from agentic_vision.stored_image import UPRIGHT, orientation, stored_corners, to_rgb
from agentic_vision.url_rules import is_url
from agentic_vision.whole_text import whole

if TYPE_CHECKING:
    import numpy

    from agentic_vision.view import Box

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | numpy.ndarray[Any, Any]"

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
"""What is decoded; JPEG includes MPO. Among Pillow's other formats are some that run programs (EPS)."""
KEEP_PIXELS = 25_000_000
"""A decoded image up to this size is kept for the next view of it; a larger one is decoded again.

By default only a JPEG is let in that is larger, of which a glance takes a part.
"""
NEARLY = 0.95
"""A decode this much short of the wanted side will do: nobody sees it, and the next scale costs up to twice.

Large photographs come near: Qwen2.5-VL's glance at 8064 x 6048 pixels is 2044 wide, a quarter of them 2016.
"""

_reading = threading.Lock()
"""Pillow reads a file that it has open when its pixels are first asked for, and not for two threads at once."""


class Source:
    """One image as it was given. `size` is upright (EXIF) width and height; `label` names it for people."""

    def __init__(
        self, label: str, data: bytes | None = None, image: Image.Image | None = None, *, path: str | None = None
    ) -> None:
        """For `open`: either the bytes of an image file (`data`) or an upright image that nobody else
        changes. `path`: where the bytes were read from.
        """
        self.label = whole(label)  # names of files may hold bytes that are no text
        self.path = path
        self._data = data
        self._given = image
        self._kept: Image.Image | None = None
        self._drafts = False  # whether it can be decoded small
        if data is not None:
            with _as_image_error(label):
                header = self._header(data)
                self._stored_size = header.size
                self._drafts = header.format in ("JPEG", "MPO")
                self._orientation = orientation(header, data)
        else:
            assert image is not None
            self._stored_size = image.size
            self._orientation = 1
            ImageLimits.current().check_pixels(label, *image.size)
        width, height = self._stored_size
        self.size = (height, width) if self._orientation >= 5 else (width, height)

    def __repr__(self) -> str:
        return f"Source({self.label!r}, {self.size[0]} x {self.size[1]})"

    @classmethod
    def open(cls, image: ImageLike | Source) -> Source:
        """A source from a path, bytes, a PIL image, a numpy array, or a URL: `http:`, `https:` or `data:`.

        Arrays are height x width, optionally x 1, 3 (RGB) or 4 (RGBA), of uint8, uint16 or bool. Images and
        arrays are copied, so that a later change of them does not reach the source; bytes of a file are read
        once. A URL is fetched, once, by the rules of `url_rules`. Raises `ImageError` for whatever is missing, not an
        image, or larger than `ImageLimits` let in. Damage behind the header shows only in `pixels`, which raises the
        same error.
        """
        if isinstance(image, Source):
            return image
        if isinstance(image, bytes | bytearray | memoryview):
            return cls("bytes", data=_checked(bytes(image), "bytes"))
        if isinstance(image, Image.Image):
            ImageLimits.current().check_pixels("image", *image.size)
            with _reading, _as_image_error("image"):
                return cls("image", image=ImageOps.exif_transpose(image))  # a copy
        if isinstance(image, str) and image[:5].lower() == "data:":
            return cls("data URI", data=_from_data_uri(image))
        if isinstance(image, str) and is_url(image):
            from agentic_vision.fetch import fetch

            return cls(image, data=_checked(fetch(image), image))
        if isinstance(image, str | os.PathLike):
            return cls(os.fspath(image), data=_from_file(image), path=os.fspath(image))
        if hasattr(image, "__array_interface__"):
            return cls("array", image=_from_array(image))
        raise ImageError(
            f"a {type(image).__name__} is not an image: give a path, bytes, a PIL image, a numpy array or a URL"
        )

    @classmethod
    async def aopen(cls, image: ImageLike | Source) -> Source:
        """`open`, for async callers: others go on while a file is read or a URL fetched, and the digest is taken."""
        if isinstance(image, Source):
            return image
        if isinstance(image, str) and is_url(image):
            from agentic_vision.fetch import afetch

            return cls(image, data=_checked(await afetch(image), image))

        def opened() -> Source:
            source = cls.open(image)
            source.digest  # noqa: B018  of a large image that takes as long as to read it
            return source

        return await asyncio.to_thread(opened)

    @property
    def data(self) -> bytes | None:
        """The bytes of the image file; None where an image or an array was given."""
        return self._data

    @property
    def image(self) -> Image.Image | None:
        """The upright image that was given, not to be changed; None where it was a file's bytes."""
        return self._given

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the file's bytes; for an image or an array, of its mode, size, palette and pixels."""
        if self._data is not None:
            return hashlib.sha256(self._data).hexdigest()
        assert self._given is not None
        digest = hashlib.sha256(f"{self._given.mode} {self.size[0]}x{self.size[1]} ".encode())
        digest.update(bytes(self._given.getpalette() or ()))
        digest.update(self._given.tobytes())
        return digest.hexdigest()

    def pixels(self, box: Box, size: tuple[int, int]) -> Image.Image:
        """The window `box` (upright source pixels, inside the source) at `size` (width, height), as RGB.

        The image is the caller's to change. Transparency shows white; of an animation it is the first frame.
        Raises `ImageError` for a damaged file.
        """
        ImageLimits.current().check_pixels(f"the view of {self.label}", *size)
        turn = UPRIGHT.get(self._orientation)
        corners = stored_corners(box.as_tuple(), self.size, self._orientation)
        wanted = (size[1], size[0]) if self._orientation >= 5 else size
        # The size at which the whole source would be needed for this window to have enough pixels.
        enough = (
            self._stored_size[0] * wanted[0] / (corners[2] - corners[0]),
            self._stored_size[1] * wanted[1] / (corners[3] - corners[1]),
        )
        with _as_image_error(self.label):
            image, scale = self._decode(enough)
            corners = (corners[0] * scale, corners[1] * scale, corners[2] * scale, corners[3] * scale)
            rounded = tuple(round(side) for side in corners)
            if rounded == corners and (rounded[2] - rounded[0], rounded[3] - rounded[1]) == wanted:
                cut = image.crop(corners)  # pixel for pixel: copied, not resampled
            else:
                # Scaling inside the DCT has smoothed the image already: the filter of half the width will do.
                short = scale < 1 and wanted[0] <= corners[2] - corners[0]
                kernel = Image.Resampling.HAMMING if short else Image.Resampling.BICUBIC
                cut = image.resize(wanted, kernel, box=corners)
            return cut.transpose(turn) if turn is not None else cut

    def _decode(self, enough: tuple[float, float]) -> tuple[Image.Image, float]:
        """The stored image in RGB at a scale (1, 1/2, 1/4, 1/8) that leaves `enough`, and that scale."""
        header, scale = self._given, 1.0
        if self._kept is not None and not self._drafts:
            return self._kept, 1.0
        if self._data is not None:
            header = self._header(self._data)
            # Pillow drafts JPEG to the smallest scale that still has the asked size, and nothing else.
            least = (max(1, int(enough[0] * NEARLY)), max(1, int(enough[1] * NEARLY)))
            drafted = header.draft("RGB", least)
            scale = drafted[1][2] / self._stored_size[0] if drafted else 1.0
        assert header is not None
        # Only what was decoded whole is kept, and only for whole decodes: what was looked at before must not
        # change the pixels of a glance.
        if scale == 1.0 and self._kept is not None:
            return self._kept, 1.0
        rgb = to_rgb(header)
        if scale == 1.0 and rgb.width * rgb.height <= KEEP_PIXELS:
            self._kept = rgb
        return rgb, scale

    def _header(self, data: bytes) -> Image.Image:
        """The opened, undecoded image of a file's bytes, which has passed the screening."""
        limits = ImageLimits.current()
        check_file(data, self.label, limits)
        file = Metered(data, self.label)
        header = Image.open(file, formats=FORMATS)
        check_header(header, data, self.label, limits)
        file.allow_pixels(slow=is_slow(header))
        if header.format == "TIFF":
            silence_libtiff()
        return header


@contextmanager
def _as_image_error(label: str) -> Iterator[None]:
    """Whatever Pillow's decoders raise on broken input (nearly anything) leaves as one `ImageError`."""
    try:
        with quiet():
            yield
    except (ImageError, ConfigError):
        raise
    except UnidentifiedImageError as error:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ImageError(f"{label} is not an image that can be read: give a {known} file") from error
    except Image.DecompressionBombError as error:
        theirs, limits = 2 * (Image.MAX_IMAGE_PIXELS or 0), ImageLimits.current()
        if theirs >= limits.max_pixels:
            raise limits.too_many_pixels(label) from error
        raise ImageError(
            f"{label} has more than {theirs:,} pixels, which is Pillow's own limit: give a smaller copy of it, "
            "or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:
        raise ImageError(f"{label} is damaged or unsupported ({error}): give an intact copy of it") from error


def _checked(data: bytes, label: str) -> bytes:
    ImageLimits.current().check_bytes(label, len(data))
    return data


def _from_file(path: str | os.PathLike[str]) -> bytes:
    label = whole(os.fspath(path))
    try:
        if Path(path).is_dir():
            raise ImageError(f"{label} is a folder: give the path of an image file")
        with Path(path).open("rb") as file:
            most = ImageLimits.current().max_image_bytes
            return _checked(file.read(most + 1), label)  # bounded: /dev/zero and pipes have no size to ask for
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {label}: check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{label} cannot be read ({error}): check the path and its permissions") from error


def _from_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageError("the data: URI has no comma: write data:image/png;base64,<the file in base64>")
    limits = ImageLimits.current()
    if len(body) > 2 * limits.max_image_bytes:
        limits.check_bytes("the data: URI", len(body))
    raw = _unescaped(body)
    if not head.lower().endswith(";base64"):
        return _checked(raw, "data URI")
    try:
        return _checked(base64.b64decode(raw, validate=True), "data URI")
    except binascii.Error as error:
        raise ImageError(f"the data: URI is not valid base64 ({error}): encode the file anew") from error


def _unescaped(body: str) -> bytes:
    """What %41 stands for. Not `urllib.parse.unquote_to_bytes`: it makes a Python object for every escape."""
    raw = body.encode()
    # Quoted-printable is the same with another sign, and decoded in C.
    return binascii.a2b_qp(raw.replace(b"=", b"=3D").replace(b"%", b"=")) if b"%" in raw else raw


def _from_array(array: Any) -> Image.Image:
    import numpy as np  # whoever gives an array has numpy; the plain install does not need it

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"an array of shape {array.shape} is no image: give height x width, or that x 1, 3 or 4")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} has no agreed range of values: convert it to uint8, 0 to 255")
    ImageLimits.current().check_pixels("array", array.shape[1], array.shape[0])
    return Image.fromarray(np.array(array, order="C"))
