"""Which URLs may images be fetched from? http and https, on public addresses, and on hosts allowed by name.

Whoever names a URL makes this machine send a request, and this machine may stand where they do not: beside a database,
a router, a cloud's metadata. So a host's name is resolved here, once; every address that it has is checked, and it is
such an address, never the name, that `fetch` connects to.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from .errors import ConfigError, ImageError

ALLOW = "AGENTIC_VISION_ALLOW_HOSTS"
"""The environment variable with `UrlRules.allow`, separated by commas."""
LOOKUPS = 16  # names looked up at a time: a resolver that hangs keeps other names waiting, and nothing else

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host's name, for a port. Raises `OSError` where it has none."""
Address: TypeAlias = IPv4Address | IPv6Address

_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Neither is said of every one of these by every Python's `ipaddress`. Sources: IANA's registries of special-purpose
# addresses, IPv4 and IPv6.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocol assignments, Teredo among them, in which IPv4 is hidden
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, in which IPv4 is hidden
        "3fff::/20",  # documentation
    )
]
# All that is assigned for use over the internet. Outside are loopback, link-local, private, multicast, and the forms in
# which IPv4 is hidden: mapped (::ffff:0:0/96), compatible (::/96), translated (64:ff9b::/96).
_UNICAST = IPv6Network("2000::/3")


def is_url(text: str) -> bool:
    """Whether an image is given by http(s) URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, of a single machine, and hides no other address."""
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    if isinstance(address, IPv6Address):
        return address in _UNICAST and address.scope_id is None
    return address.is_global and not address.is_multicast and not address.is_reserved


async def look_up(host: str, port: int) -> Sequence[str]:
    """The system's resolver: DNS, and the file of hosts."""
    found = await asyncio.get_running_loop().run_in_executor(
        _lookups(os.getpid()),  # of this process: threads do not follow into a fork
        functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM),
    )
    return [str(address[0]) for *_, address in found]


@functools.cache
def _lookups(_: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS, thread_name_prefix="look-up")


def _allowed_by_environment() -> tuple[str, ...]:
    return tuple(entry.strip() for entry in os.environ.get(ALLOW, "").split(",") if entry.strip())


@dataclass(frozen=True)
class UrlRules:
    """What may be fetched, and what it may take.

    `allow`: host names, addresses and networks (`10.0.0.0/8`) that may be fetched from beside public addresses; a name
    is allowed wherever it leads. `max_bytes` of an image; `seconds` for all of it, names and redirects included;
    `redirects` in a row. Raises `ConfigError` for rules that cannot be.
    """

    allow: Sequence[str] = field(default_factory=_allowed_by_environment)
    max_bytes: int = 64 * 2**20
    seconds: float = 20.0
    redirects: int = 5
    resolve: Resolve = field(default=look_up, repr=False)

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.seconds <= 0 or self.redirects < 0:
            raise ConfigError("URLs need max_bytes of 1 or more, seconds above 0, and redirects of 0 or more")
        for entry in self.allow:
            if _network(entry) is None and not _is_name(entry.lower()):
                raise ConfigError(
                    f"{entry!r} is no host that URLs can be allowed for ({ALLOW}): give a name without a port, "
                    "an address, or a network such as 10.0.0.0/8"
                )

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Where to connect to for `host`, as it stands in a URL, in lower case. Raises `ImageError` for nowhere."""
        literal = _literal(host)
        if literal is not None:
            found: list[Address] = [literal]
        else:
            try:
                found = [ipaddress.ip_address(address) for address in await self.resolve(host, port)]
            except (OSError, UnicodeError):
                found = []
            if found and host in [entry.lower() for entry in self.allow]:
                return found
        # One that is not public among several would do, a moment later: then none of them is used. And it is not told
        # whether a name is unknown or a private one: that is nobody's business who cannot look it up.
        if not found or not all(self._allowed(address) for address in found):
            raise ImageError(
                f"{host} has no public address (or is unknown), and images are fetched from no other: check it; where "
                f"it is meant, allow it where this runs: {ALLOW}={host}"
            )
        return found

    def _allowed(self, address: Address) -> bool:
        networks = [network for entry in self.allow if (network := _network(entry)) is not None]
        return is_public(address) or any(address in net for net in networks if net.version == address.version)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    return _NAME.fullmatch(host) is not None and _NUMBER.fullmatch(host.rpartition(".")[2]) is None


def _literal(host: str) -> Address | None:
    """The address that `host` is; None where it is a name. Raises `ImageError` for an address in disguise."""
    if _is_name(host):
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError as error:
        # 2130706433, 0x7f.1, 0177.0.0.1 and 127%2e0.0.1 are 127.0.0.1 to those who read them kindly.
        raise ImageError(
            f"{host[:100]!r} is no host: write its name in letters, or its address as 93.184.216.34 or [2606:2800::1]"
        ) from error
