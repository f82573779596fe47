"""What strangers send to the agent's server: too much, too deep, of the wrong kind, from a page of somewhere else."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from endpoints import serving
from PIL import Image
from scripted_agent import ANSWER
from server_client import JSON, URI, ask, messages

from agentic_vision import VisionAgent
from agentic_vision.listening import names
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server import ServerSettings, create_app

MOST = 2**20
SOON = 5.0  # seconds, on a busy machine


@pytest.fixture(scope="module", params=["agent", "raw"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    policy = ScriptedPolicy([ANSWER] * 1000)
    settings = ServerSettings(max_bytes=MOST, raw=request.param == "raw")
    with serving(create_app(VisionAgent(policy), settings)) as address:
        yield address


def sent(url: str, head: str, pieces: Iterator[bytes] | list[bytes]) -> tuple[int, int]:
    """The status of what comes back, and how many bytes were sent until then."""
    address = urlsplit(url)
    count = 0
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        connection.setblocking(False)
        said = b""
        for piece in pieces:
            while piece and not said:
                try:
                    done = connection.send(piece)
                    count, piece = count + done, piece[done:]
                except BlockingIOError:
                    time.sleep(0.001)
                except OSError:
                    piece = b""
                try:
                    said = connection.recv(100)
                except BlockingIOError:
                    continue
                except OSError:
                    break
            if said:
                break
        connection.setblocking(True)
        connection.settimeout(20)
        return int((said or connection.recv(100)).split()[1]), count


def test_a_body_of_100_mb_is_refused_by_its_length_alone(url: str) -> None:
    said, count = sent(url, f"Content-Type: application/json\r\nContent-Length: {100 * 2**20}", [])
    assert (said, count) == (413, 0)


def test_one_without_a_length_is_refused_where_it_is_too_long(url: str) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    said, count = sent(url, "Content-Type: application/json\r\nTransfer-Encoding: chunked", [chunk] * 1600)
    assert said == 413
    assert count < 20 * MOST  # what was on its way in the sockets of both sides


DEEP = 100_000
BODIES = {
    "deep list": b"[" * DEEP,
    "deep object": b'{"a":' * DEEP,
    "deep messages": b'{"messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "long number": b'{"seed":' + b"9" * 500_000 + b',"messages":[{"role":"user","content":"a"}]}',
    "many messages": b'{"messages":[' + b'{"role":"user","content":""},' * 20_000 + b"{}]}",
    "many parts": b'{"messages":[{"role":"user","content":[' + b"1," * 100_000 + b"1]}]}",
    "no object": b'"messages"',
    "nothing": b"",
    "no JSON": b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    "UTF-16": '{"messages":[{"role":"user","content":"a"}]}'.encode("utf-16"),
    "no UTF-8": b'{"messages":[{"role":"user","content":"\xff"}]}',
    "half a pair": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_read_is_a_bad_request_at_once(url: str, name: str) -> None:
    started = time.monotonic()
    told = httpx.post(f"{url}/chat/completions", content=BODIES[name], headers=JSON, timeout=20)
    assert (told.status_code, set(told.json())) == (400, {"error"})
    assert len(told.content) < 1000
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("extra", ["tools", "more"])
def test_what_is_deep_inside_of_what_is_not_read_does_no_harm(url: str, extra: str) -> None:
    deep = "[" * DEEP + "]" * DEEP
    tools = f'"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"a":{deep}}}}}}}]'
    more = tools if extra == "tools" else f'"more":{deep}'
    body = f'{{"messages":[{{"role":"user","content":"a"}}],{more}}}'
    assert httpx.post(f"{url}/chat/completions", content=body, headers=JSON, timeout=20).status_code == 400


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ""]
)
def test_what_a_page_can_send_to_another_site_unasked_is_not_read(url: str, kind: str) -> None:
    body = json.dumps({"messages": messages()})
    told = httpx.post(f"{url}/chat/completions", content=body, headers={"Content-Type": kind} if kind else {})
    assert told.status_code == 415
    assert "Content-Type: application/json" in told.json()["error"]["message"]
    kinds = ("application/json", "application/json; charset=utf-8", "Application/JSON")
    assert {
        httpx.post(f"{url}/chat/completions", content=body, headers={"Content-Type": k}).status_code for k in kinds
    } == {200}


@pytest.mark.parametrize(
    "flood", ["X: " + "a" * 10_000_000, "\r\n".join(f"X-{n}: {n}" for n in range(200_000))], ids=["long", "many"]
)
def test_a_flood_of_headers_is_refused(url: str, flood: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        try:
            connection.sendall(f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{flood}\r\n\r\n".encode())
            said = connection.recv(100)
        except OSError:
            said = b""  # it closed the connection while we were talking
    assert not said or said.split()[1] in (b"400", b"431")
    assert httpx.get(f"{url}/models").status_code == 200


def large(width: int, height: int) -> str:
    """Few bytes, many pixels."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_the_pixels_of_all_images_are_bounded_before_any_is_decoded(url: str) -> None:
    shown = large(4000, 4000)  # 16 megapixels, in 2 kB
    started = time.monotonic()
    told = httpx.post(f"{url}/chat/completions", json={"messages": messages(images=[shown] * 7)}, timeout=20)
    assert told.status_code == 400
    assert "the 7 images have 112,000,000 pixels together, more than 100,000,000" in told.json()["error"]["message"]
    assert time.monotonic() - started < SOON
    assert ask(url, said=messages(images=[URI] * 5)).choices[0].message.content


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH"])
def test_another_method_is_told_which_there_are(url: str, method: str) -> None:
    told = httpx.request(method, f"{url}/chat/completions")
    assert (told.status_code, told.headers["allow"]) == (405, "POST")


def test_a_page_that_was_led_here_by_another_name_is_refused() -> None:
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0", "--allow-host", "Eyes.example"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = re.search(r"http://\S+/v1", server.stderr.readline())
            assert address is not None
            models = f"{address.group()}/models"
            assert httpx.get(models, timeout=30).status_code == 200
            for host in ("localhost", "localhost:8080", "[::1]:80", "LOCALHOST", "eyes.example:80"):
                assert httpx.get(models, headers={"Host": host}).status_code == 200
            for host in ("other.example", "localhost.other.example:8080", "[::1", "127.0.0.1@other.example"):
                told = httpx.get(models, headers={"Host": host})
                assert told.status_code == 403
                assert "--allow-host" in told.json()["error"]["message"]
        finally:
            server.kill()


def test_with_keys_or_in_front_of_others_every_name_is_let_in() -> None:
    assert names("127.0.0.1")
    assert names("127.0.0.1", keys=True) == names("0.0.0.0") == ()


@pytest.mark.parametrize(("host", "keys"), [("127.0.0.1", False), ("127.0.0.1", True), ("0.0.0.0", False)])
def test_whoever_names_hosts_lets_in_those_alone(host: str, keys: bool) -> None:
    settings = ServerSettings(hosts=names(host, ["Eyes.example"], keys=keys))
    assert set(settings.hosts) >= {"eyes.example", "127.0.0.1", "localhost"}
    with serving(create_app(VisionAgent(ScriptedPolicy([ANSWER])), settings)) as address:
        for name, status in (("EYES.example", 200), ("other.example", 403)):
            assert httpx.get(f"{address}/models", headers={"Host": name}).status_code == status
