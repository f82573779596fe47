"""How are two runs kept from writing the same results?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

from .errors import ConfigError

_LOG = logging.getLogger(__name__)

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
    except BlockingIOError as error:
        raise ConfigError(f"another run is writing {path}: wait for it, or give another place (--out)") from error
    except OSError as error:  # some network file systems have no locks
        _LOG.warning("%s cannot be locked (%s): see to it that no other run writes it", path, error.strerror or error)
