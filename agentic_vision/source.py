"""Which pixels did the user give? A `Source`: one image, upright, decoded as late and as little as possible.

Only the header is read when a source is opened. Pixels are decoded when a view asks for them, and a JPEG of which
only a small copy is wanted is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg scales inside the DCT), so that a
glance at a large photograph never holds the photograph. Every limit on hostile input stands on this page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import threading
import urllib.parse
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image, ImageOps, UnidentifiedImageError

from agentic_vision.errors import ImageError

if TYPE_CHECKING:
    import numpy

    from agentic_vision.view import Box

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | numpy.ndarray[Any, Any]"

MAX_BYTES = 256 * 2**20
"""A file or `data:` URI larger than this is refused before it is read."""
MAX_PIXELS = 89_478_485
"""Width x height: beyond it Pillow suspects a decompression bomb (1/4 GiB at 3 bytes a pixel). So do we."""
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
"""What is decoded. An allow list: among Pillow's other formats are some that run programs (EPS: Ghostscript)."""
KEEP_PIXELS = 16_000_000
"""A decoded image up to this size is kept for the next view of it; a larger one is decoded again."""

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {  # its value -> how the stored pixels are turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_warnings_lock = threading.Lock()


class Source:
    """One image as it was given. `size` is upright (EXIF) width and height; `label` names it for people."""

    def __init__(self, label: str, data: bytes | None = None, image: Image.Image | None = None) -> None:
        """For `open`: either the bytes of an image file (`data`) or an upright image that nobody else changes."""
        self.label = label
        self._data = data
        self._decoded = image
        if data is not None:
            header = self._header(data)
            self._stored_size = header.size
            self._orientation = _orientation(header, data)
        else:
            assert image is not None
            self._stored_size = image.size
            self._orientation = 1
        width, height = self._stored_size
        _check_pixels(label, width, height)
        self.size = (height, width) if self._orientation >= 5 else (width, height)

    def __repr__(self) -> str:
        return f"Source({self.label!r}, {self.size[0]} x {self.size[1]})"

    @classmethod
    def open(cls, image: ImageLike | Source) -> Source:
        """A source from a path, bytes, a PIL image, a numpy array or a `data:` URI.

        Arrays are height x width, optionally x 1, 3 (RGB) or 4 (RGBA), of uint8, uint16 or bool. Images and arrays
        are copied, so that a later change of them does not reach the source; bytes of a file are read once.
        Raises `ImageError` for whatever is missing, not an image, or larger than the limits of this module.
        Damage behind the header shows only in `pixels`, which raises the same error.
        """
        if isinstance(image, Source):
            return image
        if isinstance(image, bytes | bytearray | memoryview):
            return cls("bytes", data=_checked(bytes(image), "bytes"))
        if isinstance(image, Image.Image):
            _check_pixels("image", *image.size)
            with _as_image_error("image"):
                return cls("image", image=ImageOps.exif_transpose(image).copy())
        if isinstance(image, str) and image[:5].lower() == "data:":
            return cls("data URI", data=_from_data_uri(image))
        if isinstance(image, str) and image[:8].lower().startswith(("http://", "https://")):
            raise ImageError(
                f"{image} is a URL, and URLs are not fetched: download it and give the path or the bytes"
            )
        if isinstance(image, str | os.PathLike):
            return cls(os.fspath(image), data=_from_file(image))
        if hasattr(image, "__array_interface__"):
            return cls("array", image=_from_array(image))
        raise ImageError(
            f"a {type(image).__name__} is not an image: give a path, bytes, a PIL image, a numpy array or a data: URI"
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the file's bytes; for an image or an array, of its mode, size and pixels."""
        if self._data is not None:
            return hashlib.sha256(self._data).hexdigest()
        assert self._decoded is not None
        head = f"{self._decoded.mode} {self.size[0]}x{self.size[1]} ".encode()
        return hashlib.sha256(head + self._decoded.tobytes()).hexdigest()

    def pixels(self, box: Box, size: tuple[int, int]) -> Image.Image:
        """The window `box` (upright source pixels, inside the source) at `size` (width, height): RGB, a fresh image.

        Transparency shows white; of an animation it is the first frame. Raises `ImageError` for a damaged file.
        """
        _check_pixels(f"the view of {self.label}", *size)
        turn = _UPRIGHT.get(self._orientation)
        corners = _stored_corners(box.as_tuple(), self.size, self._orientation)
        wanted = (size[1], size[0]) if self._orientation >= 5 else size
        # The size at which the whole source would be needed for this window to have enough pixels.
        enough = (
            self._stored_size[0] * wanted[0] / (corners[2] - corners[0]),
            self._stored_size[1] * wanted[1] / (corners[3] - corners[1]),
        )
        with _as_image_error(self.label):
            image, scale = self._decode(enough)
            corners = (corners[0] * scale, corners[1] * scale, corners[2] * scale, corners[3] * scale)
            whole = tuple(round(side) for side in corners)
            if whole == corners and (whole[2] - whole[0], whole[3] - whole[1]) == wanted:
                cut = image.crop(corners)  # pixel for pixel: copied, not resampled
            else:
                cut = image.resize(wanted, Image.Resampling.BICUBIC, box=corners)
            return cut.transpose(turn) if turn is not None else cut

    def _decode(self, enough: tuple[float, float]) -> tuple[Image.Image, float]:
        """The stored image as RGB, at least `enough` in size where it has that much, and its scale (1, 1/2 ...)."""
        if self._decoded is not None:
            return _to_rgb(self._decoded), 1.0
        assert self._data is not None
        image = self._header(self._data)
        # Pillow drafts to the nearest scale that still has the asked size; it leaves other formats than JPEG alone.
        drafted = image.draft("RGB", (int(enough[0]), int(enough[1])))
        scale = drafted[1][2] / self._stored_size[0] if drafted else 1.0
        rgb = _to_rgb(image)
        if scale == 1.0 and rgb.width * rgb.height <= KEEP_PIXELS:
            self._decoded = rgb
        return rgb, scale

    def _header(self, data: bytes) -> Image.Image:
        """The opened, undecoded image of a file's bytes."""
        with _as_image_error(self.label), _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=FORMATS)


class _as_image_error:  # noqa: N801 (reads as a verb where it is used)
    """Whatever Pillow's decoders raise on broken input (nearly anything) leaves as one `ImageError`."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ImageError) or not isinstance(error, Exception):
            return
        if isinstance(error, UnidentifiedImageError):
            raise ImageError(
                f"{self.label} is not an image that can be read: give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
            ) from error
        if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
            raise ImageError(
                f"{self.label} has more than {MAX_PIXELS:,} pixels: give a smaller copy of it"
            ) from error
        raise ImageError(
            f"{self.label} is damaged or unsupported ({error}): give an intact copy of it"
        ) from error


def _check_pixels(label: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{label} has no pixels ({width} x {height}): give an image of at least 1 x 1")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{label} has more than {MAX_PIXELS:,} pixels ({width} x {height}): give a smaller copy of it"
        )


def _checked(data: bytes, label: str) -> bytes:
    if not data:
        raise ImageError(f"{label} is empty (0 bytes): give an image file")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{label} has {len(data):,} bytes, more than {MAX_BYTES:,}: give a smaller copy of it"
        )
    return data


def _from_file(path: str | os.PathLike[str]) -> bytes:
    label = os.fspath(path)
    try:
        if Path(path).is_dir():
            raise ImageError(f"{label} is a folder: give the path of an image file")
        with Path(path).open("rb") as file:
            return _checked(
                file.read(MAX_BYTES + 1), label
            )  # bounded: /dev/zero and pipes have no size to ask for
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {label}: check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{label} cannot be read ({error}): check the path and its permissions") from error


def _from_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageError("the data: URI has no comma: write data:image/png;base64,<the file in base64>")
    if len(body) > 2 * MAX_BYTES:
        raise ImageError(
            f"the data: URI holds more than {MAX_BYTES:,} bytes: give a smaller copy of the image"
        )
    raw = urllib.parse.unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return _checked(raw, "data URI")
    try:
        return _checked(base64.b64decode(raw, validate=True), "data URI")
    except binascii.Error as error:
        raise ImageError(f"the data: URI is not valid base64 ({error}): encode the file anew") from error


def _from_array(array: Any) -> Image.Image:
    import numpy as np  # whoever gives an array has numpy; the plain install does not need it

    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            f"an array of shape {array.shape} is no image: give height x width, or that x 1, 3 or 4"
        )
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise ImageError(
            f"an array of {array.dtype} has no agreed range of values: convert it to uint8, 0 to 255"
        )
    _check_pixels("array", array.shape[1], array.shape[0])
    return Image.fromarray(np.array(array, order="C"))


def _orientation(header: Image.Image, data: bytes) -> int:
    """The EXIF orientation, 1 (upright) to 8, read from the header alone."""
    if header.format == "TIFF":
        return 1  # Pillow turns TIFF upright itself
    if header.format == "PNG" and "exif" not in header.info and b"eXIf" not in data:
        return 1  # Pillow would decode the whole PNG to look for EXIF behind the pixels
    try:
        value = header.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata, which say nothing of the pixels: viewers show such files as stored
        return 1
    return value if value in _UPRIGHT else 1


def _stored_corners(
    corners: tuple[float, float, float, float], size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """A window on the upright image (of `size`) as the window on the pixels as they are stored."""
    width, height = size
    stored: dict[int, Callable[[float, float], tuple[float, float]]] = {
        1: lambda x, y: (x, y),
        2: lambda x, y: (width - x, y),
        3: lambda x, y: (width - x, height - y),
        4: lambda x, y: (x, height - y),
        5: lambda x, y: (y, x),
        6: lambda x, y: (y, width - x),
        7: lambda x, y: (height - y, width - x),
        8: lambda x, y: (height - y, x),
    }
    ax, ay = stored[orientation](corners[0], corners[1])
    bx, by = stored[orientation](corners[2], corners[3])
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: deeper samples are scaled (Pillow alone would cut them off), alpha goes on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I;16"):
        image = image.point(lambda sample: sample * (1 / 256)).convert("L")
    elif image.mode in ("I", "F"):
        low, high = image.getextrema()
        # 32-bit samples have no agreed range: take the smallest usual one that holds them.
        top = next(
            (top for top in (1.0, 255.0, 65535.0) if image.mode == "F" or top > 1 if high <= top), high
        )
        bottom = min(low, 0)
        image = image.convert("F").point(
            lambda sample: sample * (255 / (top - bottom)) + -bottom * 255 / (top - bottom)
        )
        image = image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
