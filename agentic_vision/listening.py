"""Where will a server listen? Bound before a model is loaded, so that an address that cannot be is told at once."""

from __future__ import annotations

import os
import socket

from .errors import ConfigError

BACKLOG = 2048  # callers that wait for the server to start; as uvicorn's own


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
