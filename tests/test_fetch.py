"""Images by URL: what is fetched, and how those fail who would reach through it what they cannot reach themselves."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from urls import HEAD, NAME, Resolver, Site, png, refused, rules, talking

from agentic_vision import ConfigError
from agentic_vision.fetch import fetch
from agentic_vision.url_rules import ALLOW, UrlRules, is_public


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


def test_redirects_share_the_time(site: Site, at: str) -> None:
    def slow(_: Any) -> Response:
        time.sleep(0.08)
        return Response(status_code=302, headers={"Location": f"/slow{len(site.heard)}"})

    for number in range(80):
        site.replies[f"/slow{number}"] = slow
    started = time.monotonic()
    assert "was not fetched within 0.3 s" in refused(f"{at}/slow0", rules(seconds=0.3, redirects=80))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG; q=1", "image/x-unheard-of", "application/octet-stream"])
def test_content_types_of_images(site: Site, at: str, kind: str) -> None:
    site.replies["/a"] = lambda _: Response(png(), headers={"Content-Type": kind})
    assert fetch(f"{at}/a", rules()) == png()
