"""Where servers listen, and what they say of it."""

from __future__ import annotations

import socket

import pytest

from agentic_vision import ConfigError
from agentic_vision.listening import bound, called, url


@pytest.mark.parametrize(("host", "start"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_what_is_announced_is_a_url(host: str, start: str) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with bound(host, 0) as at:
        assert url(at) == f"{start}{at.getsockname()[1]}"


def test_an_address_that_is_taken_is_told() -> None:
    with bound("127.0.0.1", 0) as at:
        at.listen()
        with pytest.raises(ConfigError, match="give another --port"):
            bound("127.0.0.1", at.getsockname()[1])


@pytest.mark.parametrize(
    ("header", "name"),
    [("Eyes.example:80", "eyes.example"), ("[::1]:80", "::1"), ("a@b.example", "b.example"), ("[::1", ""), ("", "")],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert called(header) == name


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        return False
    return True
