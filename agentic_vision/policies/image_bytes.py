"""How does a view leave for an endpoint? As JPEG; as PNG where it has few colours, which JPEG would smear.

Encoding a photograph as PNG takes twenty times as long and makes many times the bytes. The same view always gives the
same bytes, so that a later turn repeats its prefix exactly and the endpoint's cache is hit.
"""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from threading import Lock

from PIL import Image

from ..errors import ConfigError
from ..policy import ImagePart

FEW_COLOURS = 256
KEPT_BYTES = 64 * 2**20  # of encoded views, for the later turns of the questions that are being asked


class ImageBytes:
    """Encodes views, each once. `quality`: of JPEG, 1 to 100; None is PNG, without any loss, for all of them.

    It may be used from several threads, and be pickled.
    """

    def __init__(self, quality: int | None = 90) -> None:
        if quality is not None and not 1 <= quality <= 100:
            raise ConfigError(
                f"an image quality of {quality}: give 1 to 100; 90 is hardly to be told from the original"
            )
        self.quality = quality
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __getstate__(self) -> dict[str, int | None]:
        return {"quality": self.quality}

    def __setstate__(self, state: dict[str, int | None]) -> None:
        ImageBytes.__init__(self, state["quality"])

    def data_uri(self, part: ImagePart) -> str:
        """The view as a `data:` URI. Raises `ImageError` where it cannot be drawn."""
        key = part.source.digest, part.view.model_dump_json()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        kind, data = encoded(part.render(), self.quality)
        uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        with self._lock:
            self._bytes += len(uri) - len(self._kept.pop(key, ""))
            self._kept[key] = uri
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return uri


def encoded(image: Image.Image, quality: int | None = 90) -> tuple[str, bytes]:
    """An RGB image as a file: its kind ("png", "jpeg") and its bytes, without any metadata."""
    file = io.BytesIO()
    if quality is None or image.getcolors(FEW_COLOURS) is not None:
        image.save(file, "PNG", compress_level=6)
        return "png", file.getvalue()
    # Full chroma: halved, coloured letters blur, which is what one looks closer for.
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return "jpeg", file.getvalue()
