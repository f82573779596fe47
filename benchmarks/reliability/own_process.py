"""An ASGI application in a process of its own, on a free port."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def served(make: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """The address of what `make(*arguments)` gives in the other process, while the block runs."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=_serve, args=(port, make, arguments), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=60)}"
    finally:
        process.terminate()
        process.join(10)


def _serve(port: Any, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import uvicorn

    app = make(*arguments)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", access_log=False)
    listening = config.bind_socket()
    port.put(listening.getsockname()[1])
    uvicorn.Server(config).run([listening])
