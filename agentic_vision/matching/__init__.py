"""Whether a predicted answer is the reference answer, by rule: what evaluation and rewards share.

matcher("anls").compare("Main St", ["main street", "main st."])
"""

from types import MappingProxyType

from ..errors import ConfigError
from .anls import Anls
from .choice import Choice
from .exact import Exact, normalised
from .matcher import Matcher
from .numeric import Numeric, Relaxed
from .vqa import Vqa

MATCHERS = MappingProxyType({one.name: one for one in (Exact(), Numeric(), Relaxed(), Anls(), Choice(), Vqa())})
"""The rules by name, each as published: `exact`, `numeric`, `relaxed`, `anls`, `choice`, `vqa`."""


def matcher(name: str) -> Matcher:
    """The rule of that name. Raises `ConfigError`, which lists them, for an unknown one."""
    if name not in MATCHERS:
        raise ConfigError(f"there is no matching rule {name!r}: choose from {', '.join(MATCHERS)}")
    return MATCHERS[name]


__all__ = [
    "MATCHERS",
    "Anls",
    "Choice",
    "Exact",
    "Matcher",
    "Numeric",
    "Relaxed",
    "Vqa",
    "matcher",
    "normalised",
]
