"""Are the settings in the environment such as will be heeded? Keys are counted, never shown."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from agentic_vision.errors import ConfigError
from agentic_vision.image_limits import PREFIX, ImageLimits, from_environment
from agentic_vision.server.keys import KEYS, environments
from agentic_vision.url_rules import ALLOW, UrlRules

from .finding import Finding, Health

_LIMITS = {PREFIX + name.upper(): name for name in ImageLimits.__dataclass_fields__}


def settings() -> Iterator[Finding]:
    """Every AGENTIC_VISION_* variable that is set."""
    known = (*_LIMITS, ALLOW, KEYS)
    for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
        if variable not in known:
            like = difflib.get_close_matches(variable, known, 1)
            mend = f"did you mean {like[0]}? Rename it, or unset it" if like else "unset it"
            yield Finding(variable, Health.WARNING, "there is no such setting, and nothing heeds it", mend)
            continue
        try:
            yield Finding(variable, Health.OK, _read(variable))
        except ConfigError as error:
            said, _, mend = str(error).rpartition(": ")
            yield Finding(variable, Health.BROKEN, said, mend)


def _read(variable: str) -> str:
    if variable == KEYS:
        return f"{len(environments())} of the server's clients"
    if variable == ALLOW:
        return ", ".join(UrlRules().allow) or "none"
    return f"{from_environment(_LIMITS[variable]):,}"
