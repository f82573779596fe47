"""What a server allows: whom, how much, how long. And whether a request may come in at all."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from ..errors import ConfigError
from ..image_limits import ImageLimits
from ..listening import called
from ..url_rules import UrlRules
from .errors import HttpError
from .wire import error

MAX_BYTES = 64 * 2**20


def _max_bytes() -> int:
    return min(MAX_BYTES, ImageLimits.current().max_image_bytes)


@dataclass(frozen=True)
class ServerSettings:
    """`model`: the name under which it is served. `raw`: the bare policy, without the loop. `api_keys`: whom to serve;
    none is everybody. `hosts`: the names under which it may be called; none is every name. `in_flight` questions at
    once, `queue` waiting. `deadline`: seconds a request, its upload and its waiting included. `max_bytes` of a request,
    and of what is fetched for it: 64 MiB, or what one image may have where that is less. `urls`: by which rules images
    are fetched from http(s) URLs; None is not at all. Raises `ConfigError` for settings that cannot be.
    """

    model: str = "agentic-vision"
    raw: bool = False
    api_keys: Sequence[str] = field(default=(), repr=False)  # settings are printed, keys are not
    hosts: Sequence[str] = ()
    in_flight: int = 32
    queue: int = 128
    deadline: float = 120.0
    max_bytes: int = field(default_factory=_max_bytes)
    urls: UrlRules | None = None

    def __post_init__(self) -> None:
        most = ImageLimits.current().max_image_bytes
        if self.in_flight < 1 or self.queue < 0 or self.deadline <= 0 or not 0 < self.max_bytes <= most:
            raise ConfigError(
                "a server needs in_flight of 1 or more, a queue of 0 or more, a deadline above 0, and max_bytes from 1 "
                f"to {most:,}"
            )
        if not all(key.strip() for key in self.api_keys):
            raise ConfigError(
                "a key of this server is empty, which would let everybody in: give keys, or none to do just that"
            )
        object.__setattr__(self, "hosts", tuple(name.lower() for name in self.hosts))

    def authorise(self, request: Request) -> None:
        """Raises `HttpError` for a host that is none of `hosts` (403), and for no key of `api_keys` (401)."""
        if self.hosts and called(request.headers.get("host", "")) not in self.hosts:
            names = " or ".join(self.hosts)
            said = f"this server is called {names}: use that address, or start it with --allow-host or with keys"
            raise HttpError(403, error(said, "invalid_request_error"))
        if not self.api_keys:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Every key is compared, in constant time: the time taken tells nothing.
        known = max([hmac.compare_digest(given.encode(), key.encode()) for key in self.api_keys])
        if not known or scheme.lower() != "bearer":
            said = "the key is not one of this server's: send Authorization: Bearer KEY"
            raise HttpError(401, error(said, "authentication_error", "invalid_api_key"))
