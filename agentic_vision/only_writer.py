"""How are two runs kept from writing the same results?"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from .errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: two runs are not told from one another there
    fcntl = None  # type: ignore[assignment]


def only_writer(file: IO[Any], path: Path) -> None:
    """Lock `file`, which stands for the results at `path`, until it is closed or the process ends, in whatever way.

    Raises `ConfigError` where another run holds it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(f"another run is writing {path}: wait for it, or give another place (--out)") from error
