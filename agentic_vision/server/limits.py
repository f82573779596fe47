"""A request's body is read up to a limit and no further, whatever its headers promise."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class TooLargeError(Exception):
    """A request's body is larger than the server takes."""


class LimitedBody:
    """ASGI middleware: `receive` raises `TooLargeError` beyond `most` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise TooLargeError(f"the request is larger than {self._most:,} bytes: send fewer or smaller images")
            return message

        return await self._app(scope, limited, send)
