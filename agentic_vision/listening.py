"""Where does a server listen, and by which names may it be called? What `serve`, `play` and `mcp --http` share.

The socket is bound before a model is loaded, so that an address that cannot be is told at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import typer

from .errors import ConfigError

BACKLOG = 2048  # callers that wait for the server to start; as uvicorn's own
LOCAL = ("127.0.0.1", "localhost", "::1")
"""What a machine calls itself."""


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address, whose `listen` lets callers in. Raises `ConfigError` where it cannot be had."""
    try:
        found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if os.name == "posix":  # or a server could not start again while the last one's connections fade away
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port} ({error.strerror or error}): give another --port, or a --host that "
            "is this machine's"
        ) from error
    return found


def url(at: socket.socket) -> str:
    """The address of a bound socket, as a browser takes it: http://127.0.0.1:8080, http://[::1]:8080."""
    host, port = at.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def names(host: str, allowed: Sequence[str] = (), *, keys: bool = False) -> tuple[str, ...]:
    """By which names may a server at `host` be called? `allowed` are those it was given; none at all is every name.

    A page that was led here by DNS rebinding, in the browser of somebody on this machine, calls the server by a name
    that is not the machine's own. With keys that page would need one.
    """
    if allowed:
        return tuple(dict.fromkeys((*LOCAL, host, *allowed)))
    return LOCAL if host in LOCAL and not keys else ()


def called(host: str) -> str:
    """The name in a header `Host`, in lower case, without its port; "" where it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def serve(
    app: Any, at: socket.socket, told: str, *, drain: int, log_level: str = "warning", most: int | None = None
) -> None:
    """Answer at a bound socket with the ASGI application `app`, until the process is told to end.

    `told` is said on stderr first. `drain`: seconds that running requests have at the end. `most`: connections.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",  # the one that bounds the headers of a request
        log_level=log_level,
        access_log=False,
        limit_concurrency=most,
        timeout_graceful_shutdown=drain,
    )
    at.listen(BACKLOG)  # whoever reads the address may call at once, and waits for the rest of the start
    typer.echo(told, err=True)
    uvicorn.Server(config).run([at])
