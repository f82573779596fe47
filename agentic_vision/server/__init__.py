"""The agent behind OpenAI's Chat Completions, for any client: `agentic-vision serve`. Needs the extra [serve].

Names are imported when they are first used: the command line comes through here for its `--help`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app as create_app
    from .settings import ServerSettings as ServerSettings

_HOMES = {"ServerSettings": "settings", "create_app": "app"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
