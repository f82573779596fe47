"""The server over streamable HTTP: an ASGI application, whom it listens to, and how much it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from ..listening import LOCAL
from .shown import MOST_CLIENTS

PATH = "/mcp"
MOST_BODY = 64 * 2**20  # bytes of a request: an image may be in it
MOST_CONNECTIONS = 4 * MOST_CLIENTS  # a session holds one open and makes its calls on others


def create_app(server: Server[dict[str, Any]], hosts: Sequence[str]) -> Starlette:
    """`hosts`: the names by which clients may call it, beside those of this machine to itself.

    Requests for another host, or from a page of another, are refused: they come from a browser that was led here by
    DNS rebinding.
    """
    names = dict.fromkeys((f"[{host}]" if ":" in host else host).lower() for host in (*LOCAL, *hosts))
    security = TransportSecuritySettings(
        allowed_hosts=[part for name in names for part in (name, f"{name}:*")],
        allowed_origins=[f"{scheme}://{part}" for scheme in ("http", "https") for name in names
                         for part in (name, f"{name}:*")],
    )  # fmt: skip
    return server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MOST_BODY,
        max_sessions=MOST_CLIENTS,
        transport_security=security,
    )
