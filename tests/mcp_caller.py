"""A client of the MCP server, for tests that are not async: the SDK's own."""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.types import CallToolResult, ImageContent, TextContent

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "agentic_vision", "mcp"]


class Caller:
    """Calls the tools of a server, and takes their results apart."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self.portal, self.client = portal, client

    def __call__(self, tool: str, progress: Any = None, **arguments: Any) -> CallToolResult:
        return self.portal.call(partial(self.client.call_tool, tool, arguments, progress_callback=progress))

    def wrong(self, tool: str, **arguments: Any) -> str:
        """What the model of the client is told is wrong with its call."""
        result = self(tool, **arguments)
        assert result.is_error
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text

    def shown(self, tool: str, **arguments: Any) -> tuple[bytes, str, str]:
        """The file of the image that came back, the name of the view, and the line about it."""
        result = self(tool, **arguments)
        assert not result.is_error, result
        image, line = result.content
        assert isinstance(image, ImageContent)
        assert isinstance(line, TextContent)
        return base64.b64decode(image.data), line.text.partition(" (")[0], line.text


@contextlib.contextmanager
def calling(client: Client) -> Iterator[Caller]:
    """The client connected, while the block runs."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        yield Caller(portal, client)
