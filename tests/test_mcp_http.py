"""The MCP server over real HTTP, with several clients, and what it keeps for them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from endpoints import Scripted, chat, failure
from PIL import Image

from agentic_vision import Source, View
from agentic_vision.errors import ImageError
from agentic_vision.protocol import write

pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")

from mcp import Client, MCPError
from mcp_caller import COMMAND, ROOT, Caller, calling

from agentic_vision.mcp import shown as shown_module
from agentic_vision.mcp.shown import ShownViews

SESSION, NO_SESSION = "legacy", "auto"  # the SDK's words for the handshake of up to 2025, and for what came after


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """An endpoint with a model whose key is wrong once."""
    with (model := Scripted([failure(401), chat(write(answer="blue"))])).serving() as url:
        yield SimpleNamespace(url=url, requests=model.requests)


@pytest.fixture(scope="module")
def url(readable: Path, model: Any) -> Iterator[str]:
    """The address of a server whose policy is that endpoint."""
    options = ("--root", str(readable), "--policy", "gpt-4o", "--base-url", model.url)
    command = [*COMMAND, "--http", "--port", "0", *options]
    environment = {**os.environ, "OPENAI_API_KEY": "key"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield server.stderr.readline().split()[-1]
        finally:
            server.terminate()


@pytest.fixture
def connected(url: str) -> Iterator[Callable[[str], Caller]]:
    with contextlib.ExitStack() as stack:
        yield lambda mode: stack.enter_context(calling(Client(url, mode=mode)))


@pytest.mark.parametrize("mode", [SESSION, NO_SESSION])
def test_clients_do_not_see_each_others_views(connected: Callable[[str], Caller], mode: str) -> None:
    mine, theirs, newer = connected(mode), connected(SESSION), connected(NO_SESSION)
    plan, name, _ = mine.shown("glance", image="a plan.png")
    _, same, _ = mine.shown("zoom_crop", image=name, bbox_2d=[0, 0, 500, 500])
    assert name == "view 1" if mode == SESSION else re.fullmatch("view [0-9a-f]{16}", name)
    assert "there is no " + same in theirs.wrong("full_res", image=same)
    if mode == SESSION:
        assert "there is no " + same in newer.wrong("full_res", image=same)
    assert "there is no view 1" in newer.wrong("full_res", image="view 1")
    receipt, *_ = theirs.shown("glance", image="receipt.png")
    assert theirs.shown("full_res", image="view 1")[0] != plan
    assert receipt != plan
    assert mine.shown("full_res", image=same)[0] != receipt


def test_a_question_without_an_answer_is_an_error_with_its_reason(
    connected: Callable[[str], Caller], model: Any
) -> None:
    ask = partial(connected(NO_SESSION), "ask", images=["receipt.png", "photo.png"], question="Which colour?")
    refused = ask()
    assert refused.is_error
    assert refused.content[0].text.startswith("There is no answer (misconfigured): ")
    assert refused.structured_content["answer"] is None
    assert ask().structured_content["answer"] == "blue"
    assert str(model.requests[-1]["messages"]).count("'image_url'") == 4  # two images, and their types


def posted(url: str, arguments: dict[str, Any], **headers: str) -> Any:
    """The result of a `glance` that is asked for without the SDK."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"name": "glance", "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers |= {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "glance"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return json.load(response)["result"]


def test_a_page_of_another_host_is_not_listened_to(url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
    assert not posted(url, {"image": "receipt.png"}, Origin="http://localhost:3000")["isError"]
    for header, status in (({"Host": "evil.example"}, 421), ({"Origin": "https://evil.example"}, 403)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(url, {"image": "receipt.png"}, **header)
        assert refused.value.code == status


def test_half_of_a_surrogate_pair_is_no_path_and_no_name(url: str) -> None:
    assert "cannot be a path" in posted(url, {"image": "a\ud800.png"})["content"][0]["text"]
    assert posted(url, {"image": "receipt.png", "a\ud800": 1})["isError"]


def test_a_request_has_a_largest_size(connected: Callable[[str], Caller]) -> None:
    client = connected(NO_SESSION)
    with pytest.raises(MCPError):
        client("glance", image="data:image/png;base64," + "A" * (65 * 2**20))
    client.shown("glance", image="receipt.png")


# What is kept


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch, picture: Image.Image) -> None:
    monkeypatch.setattr(shown_module, "MOST_VIEWS", 2)
    monkeypatch.setattr(shown_module, "MOST_CLIENTS", 2)
    monkeypatch.setattr(shown_module, "MOST_BYTES", 2 * 3 * 1200 * 900 + 2 * shown_module.LEAST_BYTES)
    views, look = ShownViews(), View.whole(picture.size)

    def show(client: str | None) -> str:
        image = Source.open(picture)
        views.keep(image, 0)
        return views.add(client, look, image)

    assert [show("a") for _ in range(3)] == ["view 1", "view 2", "view 3"]
    assert views.find("a", "view 2")[0] == look  # and so it is the image of view 3 that is the oldest
    for gone in ("view 1", "view 4"):
        with pytest.raises(ImageError, match="glance at the image again"):
            views.find("a", gone)
    show("b")
    with pytest.raises(ImageError, match="view 3"):
        views.find("a", "view 3")
    views.find("a", "view 2")
    show(None)  # of two clients it is b that was not heard for longer
    views.find("a", "view 2")
    with pytest.raises(ImageError):
        views.find("b", "view 1")
