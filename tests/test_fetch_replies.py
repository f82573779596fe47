"""What a hostile server may reply, drip or pretend to be, and how little of it is taken."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from urls import HEAD, NAME, Site, png, refused, rules, serving_tls, talking

from agentic_vision import fetch as fetch_module
from agentic_vision.fetch import fetch
from agentic_vision.url_rules import UrlRules


def drip(connection: socket.socket, head: bytes, piece: bytes, pause: float = 0.02) -> None:
    connection.sendall(head)
    for _ in range(500):
        connection.sendall(piece)
        time.sleep(pause)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: more\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"\r\n", b"."),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"."),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n.\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /a.png\r\n", b"X"),
    ],
)
def test_a_slow_server_has_its_time_and_no_more(head: bytes, piece: bytes) -> None:
    with talking(lambda connection: drip(connection, head, piece)) as server:
        started = time.monotonic()
        assert "was not fetched within 0.2 s" in refused(server.url, rules(seconds=0.2))
        assert time.monotonic() - started < 5
        for _ in range(100):  # and its connection is closed
            if server.left:
                break
            time.sleep(0.02)
        assert server.left == 1


def test_a_resolver_that_hangs_has_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return [host, str(port)]

    assert "was not fetched within 0.1 s" in refused(f"http://{NAME}/a.png", rules(resolve=never, seconds=0.1))

    def hang(*_: Any, **__: Any) -> Any:
        done.wait(5)
        raise socket.gaierror

    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert "was not fetched within 0.1 s" in refused(f"http://{NAME}/a.png", UrlRules(allow=(), seconds=0.1))
    finally:
        done.set()


def test_an_endless_body_is_left_at_the_limit() -> None:
    sent = itertools.count()

    def pour(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(bytes(4096))
            next(sent)

    with talking(pour) as server:
        assert "has more than 100,000 bytes" in refused(server.url, rules(max_bytes=100_000))
    assert next(sent) * 4096 < 20_000_000  # what fits into the buffers between


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (HEAD + b"Content-Length: 1000000000000\r\n\r\n", "has more than 1,000 bytes"),
        (HEAD + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", "has more than 1,000 bytes"),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "cannot be fetched"),
        (HEAD + b"Content-Length: -1\r\n\r\n", "cannot be fetched"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n......", "cannot be fetched"),
        (HEAD + b"Content-Length: 900\r\n\r\nshort", "cannot be fetched"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "cannot be fetched"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n" + bytes(5000), "has more than 1,000 bytes"),
        (HEAD + b"X: " + b"x" * 300_000 + b"\r\n\r\n", "cannot be fetched"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "cannot be fetched"),
        (b"\x16\x03\x01", "cannot be fetched"),
        (b"", "cannot be fetched"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "its server answers 204"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "its server answers 302"),
        (b"HTTP/1.1 304 Not Modified\r\nLocation: /b.png\r\n\r\n", "its server answers 304"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "its server answers 500"),
        (b"HTTP/1.1 200 OK\r\n\r\nroot:x:0:0", "it has no content type"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; a=image/png\r\n\r\n<p>", "it is 'text/html'"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: imagery\r\n\r\n<p>", "it is 'imagery'"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: " + b"\xff" * 5000 + b"\r\n\r\n<p>", "is no image"),
    ],
)
def test_a_reply_that_is_no_image(reply: bytes, said: str) -> None:
    with talking(lambda connection: connection.sendall(reply)) as server:
        assert said in refused(server.url, rules(max_bytes=1000, seconds=5))
        assert server.connections == 1


def test_more_than_was_declared_is_not_read() -> None:
    with talking(lambda connection: connection.sendall(HEAD + b"Content-Length: 4\r\n\r\n" + bytes(9000))) as server:
        assert fetch(server.url, rules(max_bytes=1000)) == bytes(4)


def test_nothing_is_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    for encoding in (b"gzip", b"deflate", b"br", b"gzip, gzip", b"identity, gzip", b"x"):
        head = HEAD + b"Content-Encoding: " + encoding + b"\r\n\r\n"
        with talking(lambda connection, head=head: connection.sendall(head + bomb)) as server:
            assert "comes compressed" in refused(server.url, rules())


@contextlib.contextmanager
def trusted(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[Path]:
    """A certificate for these names, which is trusted while the block runs."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now - day, now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    made = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    file = folder / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    fetch_module._tls.cache_clear()
    try:
        yield file
    finally:
        fetch_module._tls.cache_clear()


def test_the_certificate_and_the_handshake_are_the_names_not_the_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    site = Site()
    app = Starlette(routes=[Route("/{path:path}", site._reply)])
    with trusted(tmp_path, monkeypatch, NAME) as file, serving_tls(app, file, asked) as port:
        url = f"https://{NAME}:{port}"
        assert fetch(f"{url}/red.png", rules()) == png()
        assert asked == [NAME]
        assert site.heard[0][1]["host"] == f"{NAME}:{port}"
        # Whoever answers at the address of another name is not that name.
        said = refused(f"https://other.test:{port}/red.png", rules(allow=("other.test",)))
        assert "CERTIFICATE_VERIFY_FAILED" in said
        site.redirect("/plain", f"http://{NAME}:{port}/red.png")
        assert "without encryption" in refused(f"{url}/plain")
    assert site.paths == ["/red.png", "/plain"]
    fetch_module._tls.cache_clear()
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving_tls(app, tmp_path / "certificate.pem", asked) as port:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(f"https://{NAME}:{port}/red.png")


def test_time_is_kept_in_the_handshake_too() -> None:
    with talking(lambda connection: drip(connection, b"\x16\x03\x03\x40\x00", b"\x02")) as server:
        assert "was not fetched within" in refused(server.url.replace("http:", "https:"), rules(seconds=0.3))
