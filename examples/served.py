"""`agentic-vision serve` in a process of its own, for the examples that need an endpoint."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def served(*options: str) -> Iterator[str]:
    """The address of a server with these options, while the block runs."""
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = None
            for said in server.stderr:  # warnings may come first
                address = re.search(r"agentic-vision serves .* on (http://\S+/v1)", said)
                if address is not None:
                    break
                sys.stderr.write(said)
            if address is None:
                sys.exit("the server did not start: see above")
            # Whatever it says later is passed on, or it would wait for somebody to read it.
            threading.Thread(target=shutil.copyfileobj, args=(server.stderr, sys.stderr), daemon=True).start()
            yield address.group(1)
        finally:
            server.terminate()
