"""What the agent's server bounds: uploads, deadlines, keys and images, whoever sends them, however slowly."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from endpoints import serving
from scripted_agent import ANSWER
from server_client import JSON, URI, Slow, ask, messages, until

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server import ServerSettings, create_app


def upload(url, size=1000):
    """A request whose body does not come."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {size}\r\n\r\n{{".encode())
    return connection


def status(connection):
    with connection:
        return int(connection.recv(100).split()[1])


def test_an_upload_that_stalls_ends_at_the_deadline():
    with serving(create_app(VisionAgent(ScriptedPolicy([ANSWER])), ServerSettings(deadline=0.3))) as url:
        started = time.monotonic()
        assert status(upload(url)) == 504
        assert time.monotonic() - started < 5
        assert ask(url).choices[0].message.content == "417"


def test_uploads_take_places_of_the_queue():
    app = create_app(VisionAgent(ScriptedPolicy([ANSWER])), ServerSettings(in_flight=1, queue=2))
    with serving(app) as url:
        uploads = [upload(url) for _ in range(3)]
        until(lambda: "Retry-After" in httpx.post(f"{url}/chat/completions", content=b"{", headers=JSON).headers)
        with pytest.raises(openai.RateLimitError):
            ask(url)
        assert status(upload(url)) == 429
        uploads.pop().close()  # whoever leaves makes room
        until(lambda: httpx.post(f"{url}/chat/completions", content=b"{", headers=JSON).status_code == 400)
        assert ask(url).choices[0].message.content == "417"
        for connection in uploads:
            connection.close()


def test_the_deadline_of_a_stream_began_with_its_request():
    first, second = Slow(), Slow()
    policies = iter((first, second))

    class OneByOne(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            return await next(policies).reply(conversation, seed=seed)

    app = create_app(VisionAgent(OneByOne([ANSWER])), ServerSettings(in_flight=1, deadline=2.0))
    with serving(app) as url, ThreadPoolExecutor(2) as others:
        ahead = others.submit(ask, url)
        until(lambda: first.asked)
        started = time.monotonic()
        others.submit(lambda: time.sleep(1.7) or first.go.set())
        with pytest.raises(openai.APIError, match="no answer within 2 s"):
            list(ask(url, stream=True))
        assert time.monotonic() - started < 3.2
        assert ahead.result().choices[0].message.content == "417"


def test_an_empty_key_is_refused_and_lets_nobody_in(embedded):
    for keys in (("",), ("k", " ")):
        with pytest.raises(ConfigError, match="let everybody in"):
            ServerSettings(api_keys=keys)
    with serving(create_app(embedded, ServerSettings(api_keys=("k",)))) as url:
        for said, known in (("Bearer k", 200), ("bearer k", 200), ("k", 401), ("Basic k", 401), ("", 401)):
            assert httpx.get(f"{url}/models", headers={"Authorization": said}).status_code == known


def test_a_small_limit_of_images_is_one_of_requests_too(monkeypatch):
    assert ServerSettings().max_bytes == 64 * 2**20
    monkeypatch.setenv("AGENTIC_VISION_MAX_IMAGE_BYTES", "10000000")
    assert ServerSettings().max_bytes == 10_000_000
    with pytest.raises(ConfigError, match="max_bytes from 1 to 10,000,000"):
        ServerSettings(max_bytes=10_000_001)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_so_many_images_and_no_more(raw, stream):
    app = create_app(VisionAgent(ScriptedPolicy([ANSWER])), ServerSettings(raw=raw))
    with serving(app) as url, pytest.raises(openai.BadRequestError, match="more than 64"):
        ask(url, said=messages(images=[URI] * 65), stream=stream)
