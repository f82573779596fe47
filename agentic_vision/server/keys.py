"""Whom does a server let in by its environment? Keys in a variable are seen in no list of processes."""

from __future__ import annotations

import os

from ..errors import ConfigError

KEYS = "AGENTIC_VISION_API_KEYS"


def environments() -> tuple[str, ...]:
    """The keys, which spaces separate. Raises `ConfigError` for a variable that is set and holds none."""
    if KEYS not in os.environ:
        return ()
    keys = tuple(os.environ[KEYS].split())
    if not keys:  # a secret that was not filled in must not open the server
        raise ConfigError(f"{KEYS} is set and holds no key, which would let everybody in: put keys in it, or unset it")
    return keys
