"""`agentic-vision serve` in a process of its own, for the examples that need an endpoint."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def served(*options: str) -> Iterator[str]:
    """The address of a server with these options, while the block runs."""
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            address = re.search(r"http://\S+/v1", said)
            if address is None:
                sys.exit(said + server.stderr.read())
            yield address.group()
        finally:
            server.terminate()
