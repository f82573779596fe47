"""What a client gets: an image and a line about it, a text, or what was wrong; and what its arguments may be."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ToolError
from ..policies.image_bytes import encoded
from ..source import Source
from ..view import View


class Arguments(BaseModel):
    """The arguments of a tool: those that it knows, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def validated(tool: str, expected: type[ArgumentsT], arguments: Mapping[str, Any]) -> ArgumentsT:
    """The arguments of a call. Raises `ToolError`, which says what is wrong with them."""
    try:
        return expected.model_validate(arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[:3]
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in first)
        takes = ", ".join(expected.model_fields)
        raise ToolError(f"{tool}: {wrong}. Its arguments: {takes}. Correct the call.") from error


def drawn(view: View, image: Source) -> ImageContent:
    """The pixels of a view. Raises `ImageError` for a damaged file."""
    kind, data = encoded(view.render(image))
    return ImageContent(data=base64.b64encode(data).decode(), mime_type=f"image/{kind}")


def shown(image: ImageContent, line: str) -> CallToolResult:
    """An image, and what it is."""
    return CallToolResult(content=[image, _text(line)])


def said(text: str, structured: dict[str, Any] | None = None) -> CallToolResult:
    """A text, and the same as data where there is any."""
    return CallToolResult(content=[_text(text)], structured_content=structured)


def failed(message: str, structured: dict[str, Any] | None = None) -> CallToolResult:
    """What was wrong, and how to mend it."""
    return CallToolResult(content=[_text(message)], structured_content=structured, is_error=True)


def _text(text: str) -> TextContent:
    # Half of a surrogate pair, which some clients let through, cannot be sent back.
    return TextContent(text=text.encode("utf-8", "replace").decode())
