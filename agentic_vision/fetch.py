"""How is an image fetched by its URL? By one GET that carries nothing of ours, to an address that was checked.

    data = fetch("https://example.org/receipt.jpg")

Redirects are followed here, each as if it had been given; proxies of the environment are not used, for they would look
up the name once more, by themselves. What may be fetched, and how much: `url_rules`.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import Sequence
from urllib.request import getproxies

import httpx

from . import __version__, sync
from .errors import ImageError
from .url_rules import Address, UrlRules

LONGEST_LABEL = 200  # characters of a URL that are told in an error
LONGEST_URL = 8192
CONNECTING = 5.0  # seconds for one address, before the next one is tried
MOST_ADDRESSES = 4  # of a host, that are tried
HEADERS = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"agentic-vision/{__version__}",
}
TYPES = ("application/octet-stream", "binary/octet-stream")
"""Content types of images, beside `image/*`: what stores of files say of what they do not know."""

_REDIRECTS = (301, 302, 303, 307, 308)


def fetch(url: str, rules: UrlRules | None = None) -> bytes:
    """The bytes of the image file at an http(s) URL. Raises `ImageError` where they may not or cannot be had."""
    return sync.run(afetch(url, rules))


async def afetch(url: str, rules: UrlRules | None = None) -> bytes:
    """`fetch`, for async callers. Cancelled, it closes its connection."""
    rules = rules or UrlRules()
    label = _label(url)
    try:
        async with asyncio.timeout(rules.seconds):
            return await _followed(url, label, rules)
    except TimeoutError as late:
        raise ImageError(
            f"{label} was not fetched within {rules.seconds:g} s: download it, and give the file"
        ) from late


async def _followed(url: str, label: str, rules: UrlRules) -> bytes:
    here = _parsed(url, label)
    for _ in range(rules.redirects + 1):
        port = here.port or (443 if here.scheme == "https" else 80)
        try:
            addresses = await rules.addresses(_host(here), port)
        except ImageError as error:
            raise ImageError(f"{label} is not fetched: {error}") from error
        said = await _asked(here, addresses, label, rules.max_bytes)
        if isinstance(said, bytes):
            return said
        label = f"{_label(url)}, redirected to {_label(said)},"
        there = _parsed(said, label, here)
        if here.scheme == "https" and there.scheme != "https":
            raise ImageError(f"{label} would be fetched without encryption: give a URL that is https all the way")
        here = there
    raise ImageError(f"{label} is redirected more than {rules.redirects} times: give the URL of the image itself")


def _parsed(url: str, label: str, base: httpx.URL | None = None) -> httpx.URL:
    """The URL by the one parser that is asked in all of this. Raises `ImageError` for what is none to fetch."""
    try:
        if len(url) > LONGEST_URL:
            raise ValueError(f"it has more than {LONGEST_URL:,} characters")
        parsed = base.join(url) if base else httpx.URL(url)
        if parsed.scheme not in ("http", "https"):
            raise ValueError("it is neither http nor https")
        if parsed.userinfo:
            raise ValueError("it holds a name or a password, which would be sent along: take them out")
        host = _host(parsed).removesuffix(".")  # the last dot of a name makes no other host of it
        if not host or not (parsed.port is None or 0 < parsed.port < 65536):
            raise ValueError("it has no host, or no such port")
        return parsed.copy_with(host=host, fragment=None)
    except (httpx.InvalidURL, ValueError) as error:  # of UnicodeError, too
        raise ImageError(f"{label} is no URL of an image ({error}): check it") from error


def _label(url: str) -> str:
    """The URL as an error names it: without a password in it."""
    return re.sub(r"^([a-zA-Z]*:?//)[^/?#]*@", r"\1", url)[:LONGEST_LABEL]


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")  # `host` is what it means to people, in which names of other hosts look alike


async def _asked(url: httpx.URL, addresses: Sequence[Address], label: str, most: int) -> bytes | str:
    """The body, or where it is said to be instead."""
    failed: Exception | None = None
    try:
        for address in addresses[:MOST_ADDRESSES]:
            # The connection goes to the address; the name stands in `Host`, in TLS's SNI, and on the certificate.
            request = httpx.Request(
                "GET",
                url.copy_with(host=str(address)),
                headers={"Host": url.netloc.decode("ascii"), **HEADERS},
                extensions={"sni_hostname": _host(url), "timeout": {"connect": CONNECTING}},
            )
            # The bare transport: no cookies, no .netrc, no proxies, no redirects.
            async with httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False) as transport:
                try:
                    response = await transport.handle_async_request(request)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failed = error
                    continue
                try:
                    return await _read(response, label, most)
                finally:
                    await response.aclose()
    except (httpx.HTTPError, OSError) as error:
        failed = error
    why = str(failed) or type(failed).__name__
    unused = getproxies().keys() & {"http", "https", "all"}
    proxies = "; proxies of the environment are not used for images" if unused else ""
    raise ImageError(f"{label} cannot be fetched ({why}{proxies}): check it, or give the file") from failed


async def _read(response: httpx.Response, label: str, most: int) -> bytes | str:
    headers = response.headers
    if response.status_code in _REDIRECTS and "location" in headers:
        return headers["location"]
    if response.status_code != 200:
        raise ImageError(f"{label} cannot be fetched: its server answers {response.status_code}")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in TYPES:
        what = f"is {kind[:100]!r}" if kind else "has no content type"
        raise ImageError(f"{label} is no image, by what its server says (it {what}): give the URL of the image itself")
    # Images are compressed already. So nothing is unpacked here, into whatever size.
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ImageError(f"{label} comes compressed, though that was not asked for: download it, and give the file")
    declared, data = headers.get("content-length", ""), bytearray()
    too_large = ImageError(f"{label} has more than {most:,} bytes: give a smaller copy, or the downloaded file")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise too_large
    async for piece in response.aiter_raw():  # what is declared need not be true
        data += piece
        if len(data) > most:
            raise too_large
    return bytes(data)


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # with SSL_CERT_FILE of the environment, where there is one
