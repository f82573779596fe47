"""Images by URL: what is fetched, and how those fail who would reach through it what they cannot reach themselves."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from urls import NAME, Resolver, Site, png, serving_tls, talking

from agentic_vision import ConfigError
from agentic_vision import fetch as fetch_module
from agentic_vision.errors import ImageError
from agentic_vision.fetch import fetch
from agentic_vision.url_rules import ALLOW, UrlRules, is_public

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Site, str]]:
    site = Site()
    with site.serving() as url:
        yield site, url


@pytest.fixture
def site(served: tuple[Site, str]) -> Site:
    served[0].begin()
    return served[0]


@pytest.fixture
def at(served: tuple[Site, str]) -> str:
    """The address of the site, by its name."""
    return served[1].replace("127.0.0.1", NAME)


def rules(resolve: Resolver | None = None, **changes: Any) -> UrlRules:
    """Those by which the test's host, and nothing else of this machine, may be fetched from."""
    return UrlRules(**{"allow": (NAME,), "resolve": resolve or Resolver(["127.0.0.1"]), **changes})


def refused(url: str, given: UrlRules | None = None) -> str:
    with pytest.raises(ImageError) as error:
        fetch(url, given or rules())
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 900
    return said


# What is fetched


def test_the_image_comes_from_the_address_that_was_looked_up_once(site: Site, at: str) -> None:
    resolve = Resolver(["127.0.0.1"], ["127.0.0.2"])
    assert fetch(f"{at}/red.png?size=large#there", rules(resolve)) == png()
    assert resolve.asked == [NAME]
    ((path, headers),) = site.heard
    assert (path, headers["host"]) == ("/red.png", at.removeprefix("http://"))
    assert headers["user-agent"].startswith("agentic-vision/")
    assert headers.keys() <= {"host", "accept", "accept-encoding", "connection", "user-agent"}


def test_the_next_address_is_tried_where_nobody_listens(at: str) -> None:
    assert fetch(f"{at}/red.png", rules(Resolver(["127.0.0.2", "::1", "127.0.0.1"]))) == png()


def test_redirects_are_followed(site: Site, at: str) -> None:
    site.redirect("/moved", f"{at}/again")
    site.redirect("/again", "/red.png")
    resolve = Resolver(["127.0.0.1"])
    assert fetch(f"{at}/moved", rules(resolve)) == png()
    assert resolve.asked == [NAME] * 3


def test_the_last_dot_and_capitals_make_no_other_host(at: str) -> None:
    assert fetch(f"{at.upper()}/red.png".replace("TEST", "TEST."), rules()) == png()


# Where from


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "198.17.0.1", "2606:2800:220:1::1", "2a00:1450::8a"])
def test_a_public_address(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1"),
        *("2001:db8::1", "2001:20::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1"),
        *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "2606:2800::1%lo", "fec0::1", "ff02::1", "ff0e::1"),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert "no public address" in refused("http://elsewhere.test/a.png", rules(Resolver([address])))
    # One among public ones is as bad: the next connection might go there.
    assert "no public address" in refused("http://elsewhere.test/a.png", rules(Resolver(["93.184.216.34", address])))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0"),
        *("[0:0:0:0:0:0:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "169.254.169.254"),
        *("0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "2130706433", "017700000001", "0", "0x7f000001", "0x7f.1"),
        *(
            "0X7F.0.0.1",
            "127.0.0.0x1",
            "127.0.0.1.",
            "127%2e0.0.1",
            "127.0.0.%31",
            "%6cocalhost",
            "\uff11\uff12\uff17.0.0.1",
        ),
        *("127。0。0。1", "①②⑦.0.0.1", "127.0.0.1\\@93.184.216.34", "a b", "a_b..c", "-", "*", "", "[::1", "::1"),
    ],
)
def test_no_form_of_this_machines_address_leads_to_it(site: Site, at: str, host: str) -> None:
    port = at.rpartition(":")[2]
    url = f"http://{host}:{port}/red.png"
    refused(url, UrlRules())  # by the system's resolver, which reads some of these forms kindly
    refused(url, UrlRules(allow=(NAME,)))
    site.redirect("/there", url)
    refused(f"{at}/there", rules(Resolver(["127.0.0.1"], ["127.0.0.1"]), allow=(NAME,)) if host else None)
    assert site.paths == ["/there"]


def test_a_name_that_is_unknown_and_one_that_is_private_look_alike() -> None:
    unknown, private = (
        refused("http://elsewhere.test/a.png", rules(Resolver(found))) for found in ([], ["192.168.1.7"])
    )
    assert unknown == private
    assert "192.168" not in private
    assert f"{ALLOW}=elsewhere.test" in private


def test_private_hosts_are_allowed_by_name_address_or_network(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = at.replace(NAME, "127.0.0.1")
    for allow, url in [("127.0.0.1", here), ("127.0.0.0/8", here), ("::1, 127.0.0.1", at), (f"{NAME.upper()} ", at)]:
        monkeypatch.setenv(ALLOW, allow)
        assert fetch(f"{url}/red.png", UrlRules(resolve=Resolver(["127.0.0.1"]))) == png()
    for allow in ("127.0.0.2", "10.0.0.0/8,::1", f"www.{NAME}", "test", ""):
        monkeypatch.setenv(ALLOW, allow)
        refused(f"{at}/red.png", UrlRules(resolve=Resolver(["127.0.0.1"])))


@pytest.mark.parametrize("entry", ["10.0.0.5:8080", "http://images.test", "*.test", "10.0.0", "2130706433", "a b", "é"])
def test_what_cannot_be_allowed_is_told(entry: str) -> None:
    with pytest.raises(ConfigError, match="give a name without a port"):
        UrlRules(allow=(entry,))


def test_impossible_rules_are_refused() -> None:
    for wrong in ({"max_bytes": 0}, {"seconds": 0}, {"redirects": -1}):
        with pytest.raises(ConfigError, match="URLs need"):
            UrlRules(**wrong)


# Rebinding and redirects


def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed_there(site: Site, at: str) -> None:
    site.redirect("/first", f"{at}/red.png")
    resolve = Resolver(["127.0.0.1"], ["10.0.0.1"])
    said = refused(f"{at}/first", rules(resolve, allow=("127.0.0.1",)))
    assert "no public address" in said
    assert f"redirected to {at}/red.png" in said
    assert (resolve.asked, site.paths) == ([NAME, NAME], ["/first"])


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://127.0.0.1:{port}/secret.png", "no public address"),
        ("//127.0.0.1:{port}/secret.png", "no public address"),
        ("http://[::ffff:127.0.0.1]:{port}/secret.png", "no public address"),
        ("http://2130706433:{port}/secret.png", "is no host"),
        ("http://169.254.169.254/latest/meta-data/", "no public address"),
        (f"http://me:secret@{NAME}:{{port}}/secret.png", "a name or a password"),
        ("file:///etc/passwd", "neither http nor https"),
        ("ftp://93.184.216.34/a.png", "neither http nor https"),
        ("data:image/png;base64,AAAA", "neither http nor https"),
        ("gopher://127.0.0.1:{port}/_GET", "neither http nor https"),
        ("http://a:b:c/", "is no URL"),
        ("x" * 9000, "more than 8,192 characters"),
    ],
)
def test_a_redirect_is_checked_like_a_url_that_was_given(site: Site, at: str, to: str, said: str) -> None:
    to = to.format(port=at.rpartition(":")[2])
    site.redirect("/there", to)
    site.replies["/secret.png"] = site.replies["/red.png"]
    told = refused(f"{at}/there")
    assert said in told
    assert "me:secret" not in told
    assert site.paths == ["/there"]


def test_redirects_in_a_row_are_counted(site: Site, at: str) -> None:
    site.redirect("/round", "/round")
    assert "redirected more than 3 times" in refused(f"{at}/round", rules(redirects=3))
    assert site.paths == ["/round"] * 4


def test_nothing_of_one_host_is_told_another_and_nothing_of_ours_to_any(
    site: Site, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text(f"machine {NAME} login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    site.redirect("/cookie", "/cookie-again")
    site.redirect("/cookie-again", f"{at}/red.png?of=other".replace(NAME, "other.test"))
    with talking(lambda proxy: proxy.sendall(HEAD + b"\r\nfrom the proxy")) as proxy:
        for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.replace(NAME, "me:secret@127.0.0.1"))
        assert fetch(f"{at}/cookie", rules(allow=(NAME, "other.test"))) == png()
        assert proxy.connections == 0
        assert "proxies of the environment are not used" in refused(f"http://{NAME}:1/a.png")
    assert site.paths == ["/cookie", "/cookie-again", "/red.png"]
    for _, headers in site.heard:
        assert not {"cookie", "authorization", "proxy-authorization", "referer"} & headers.keys()
    assert site.heard[-1][1]["host"].startswith("other.test:")


def test_a_password_in_a_url_is_refused_and_not_repeated(site: Site, at: str) -> None:
    for user in ("myself:secret", "myself", ":secret", "secret%40x:y", "127.0.0.1:80\\"):
        said = refused(at.replace("//", f"//{user}@") + "/red.png")
        assert "a name or a password" in said
        assert user not in said
    assert site.paths == []


# How much, how long, and what


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
        assert time.monotonic() - started < 1.5
        for _ in range(100):  # and its connection is closed
            if server.left:
                break
            time.sleep(0.02)
        assert server.left == 1


def test_redirects_share_the_time(site: Site, at: str) -> None:
    def slow(_: Any) -> Response:
        time.sleep(0.08)
        return Response(status_code=302, headers={"Location": f"/slow{len(site.heard)}"})

    for number in range(20):
        site.replies[f"/slow{number}"] = slow
    started = time.monotonic()
    assert "was not fetched within 0.3 s" in refused(f"{at}/slow0", rules(seconds=0.3, redirects=20))
    assert time.monotonic() - started < 1.5


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


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG; q=1", "image/x-unheard-of", "application/octet-stream"])
def test_content_types_of_images(site: Site, at: str, kind: str) -> None:
    site.replies["/a"] = lambda _: Response(png(), headers={"Content-Type": kind})
    assert fetch(f"{at}/a", rules()) == png()


# TLS


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
