"""What do all our pages share? One look, pictures within their bytes, and nothing that runs or fetches.

A page is a `string.Template` in which `$style` stands for `style("page.css", ...)`: the palette and the base of every
page (traces, reports, notebooks) are in `page.css`, beside this module.
"""

from __future__ import annotations

import base64
import io
import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MARKS = 6  # colours that tell things apart, --mark1 to --mark6 in page.css
QUALITIES = (84, 65, 45)  # of WebP, tried in this order until a picture is small enough


def style(*names: str, more: str = "", scope: str | None = None) -> str:
    """The style sheets of these names, one after the other, without their comments, and `more` of the same.

    With `scope` (a class) they hold for an element of that class and what is inside it, and for nothing else:
    `:root` is that element then.
    """
    sheets = (files("agentic_vision").joinpath(name).read_text(encoding="utf-8") for name in names)
    css = re.sub(r"/\*.*?\*/\s*", "", "".join(sheets), flags=re.DOTALL) + more
    if scope is None:
        return css
    # A sheet nested in a rule is about what is inside, and `&` is the element itself. The class comes twice to prevail
    # over what a notebook says of lists and links.
    return f".{scope}.{scope} {{\n{css.replace(':root', '&')}}}\n"


def mark(number: int) -> str:
    """The colour that the thing of this number, from 1, is known by: as CSS."""
    return f"var(--mark{(number - 1) % MARKS + 1})"


def picture_uri(picture: Image.Image, most: int) -> str:
    """The picture as a `data:` URI of at most about `most` bytes before base64.

    Lossless for small pictures and drawings (few colours), where that is cheap; else as good, and then as large, as
    the bytes allow.
    """
    drawing = picture.width * picture.height <= 256 * 256 or picture.getcolors(128) is not None
    if drawing and len(data := _encoded(picture, "PNG", 0)) <= most:
        return _uri("png", data)
    while True:
        for quality in QUALITIES:
            data = _encoded(picture, "WEBP", quality)
            if len(data) <= most or max(picture.size) == 1:
                return _uri("webp", data)
        # Bytes go with the area; a noisy picture does not get down to it in one step.
        shrink = min(0.8, (most / len(data)) ** 0.5)
        width, height = picture.size
        picture = picture.resize((max(1, int(width * shrink)), max(1, int(height * shrink))))


def _encoded(picture: Image.Image, kind: str, quality: int) -> bytes:
    file = io.BytesIO()
    if kind == "PNG":
        picture.save(file, kind, optimize=True)
    else:
        picture.save(file, kind, quality=quality, method=2)  # twice as fast as the default, and as small
    return file.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
