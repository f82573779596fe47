"""The MCP server, as clients meet it: the SDK's own client, over real pipes and real HTTP."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from agentic_vision import Source, View, family

pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")

from anyio.from_thread import BlockingPortal, start_blocking_portal
from endpoints import Scripted, chat, failure
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, ImageContent, TextContent

from agentic_vision.errors import ConfigError, ImageError
from agentic_vision.mcp import shown as shown_module
from agentic_vision.mcp.roots import Roots
from agentic_vision.mcp.shown import ShownViews
from agentic_vision.policies.image_bytes import encoded
from agentic_vision.protocol import write

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "agentic_vision", "mcp"]
QWEN = family("qwen3-vl")
SESSION, NO_SESSION = "legacy", "auto"  # the SDK's words for the handshake of up to 2025, and for what came after

COUNT = '''
from agentic_vision import ToolContext, View, visual_tool

@visual_tool
def count_colours(view: View, context: ToolContext) -> str:
    """Count the colours."""
    return f"{len(view.render(context.source).getcolors(1000))} colours in the last of {len(context.views)} views"
'''


class Caller:
    """A client, for tests that are not async."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self.portal, self.client = portal, client

    def __call__(self, tool: str, progress: Any = None, **arguments: Any) -> CallToolResult:
        return self.portal.call(partial(self.client.call_tool, tool, arguments, progress_callback=progress))

    def wrong(self, tool: str, **arguments: Any) -> str:
        """What the model of the client is told is wrong with its call."""
        result = self(tool, **arguments)
        assert result.is_error
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text

    def shown(self, tool: str, **arguments: Any) -> tuple[bytes, str, str]:
        """The file of the image that came back, the name of the view, and the line about it."""
        result = self(tool, **arguments)
        assert not result.is_error, result
        image, line = result.content
        assert isinstance(image, ImageContent)
        assert isinstance(line, TextContent)
        return base64.b64decode(image.data), line.text.partition(" (")[0], line.text


def pixels(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def crop(size: tuple[int, int], *box: int) -> View:
    """What is shown of a box in source pixels."""
    x0, y0, x1, y1 = box
    whole = View.whole(size)
    view = whole.crop(whole.box.model_copy(update={"x0": x0, "y0": y0, "x1": x1, "y1": y1}))
    return view.resized(QWEN.full(view.size))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: Image.Image) -> Path:
    """What a client may read, beside a secret that it may not."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "root"
    root.mkdir()
    shutil.copy(ROOT / "examples" / "receipt.png", root)
    plan = Image.new("RGB", (2400, 1600), "white")
    ImageDraw.Draw(plan).text((2010, 1210), "gate 417", fill="black")
    plan.save(root / "a plan.png")
    picture.save(root / "photo.png")
    (root / "half.png").write_bytes((root / "photo.png").read_bytes()[:5000])
    (root / "notes.png").write_text("no image")
    (root / "empty.png").write_bytes(b"")
    os.mkfifo(root / "pipe.png")
    plan.save(outside / "secret.png")
    (root / "out").symlink_to(outside)
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "dangling.png").symlink_to(outside / "nothing.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "inside.png").symlink_to(root / "receipt.png")
    return root


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def started(portal: BlockingPortal, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server over stdio, with another person's tools; its `tools`, and the modules `loaded` when it listed them."""
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "count_colours.py").write_text(COUNT)
    (theirs / "their_tools-1.0.dist-info").mkdir()
    (theirs / "their_tools-1.0.dist-info" / "METADATA").write_text("Name: their-tools\nVersion: 1.0\n")
    (theirs / "their_tools-1.0.dist-info" / "entry_points.txt").write_text(
        "[agentic_vision.tools]\ncount_colours = count_colours:count_colours\n"
    )
    tools = ("--tools", "zoom_crop,full_res,resize,rotate,count_colours")
    parameters = StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "--root", str(folder), "--max-turns", "3", *tools],
        env={"PYTHONPATH": os.pathsep.join([str(theirs), str(ROOT)]), "PYTHONPROFILEIMPORTTIME": "1"},
    )
    log = theirs / "log.txt"
    with log.open("w") as errors:
        client = Client(stdio_client(parameters, errlog=errors))
        with portal.wrap_async_context_manager(client):
            listed = portal.call(client.list_tools).tools
            loaded = set(re.findall(r"\| +(\w+)$", log.read_text(), re.MULTILINE))
            yield SimpleNamespace(call=Caller(portal, client), tools=listed, loaded=loaded, client=client)


@pytest.fixture(scope="module")
def call(started: Any) -> Caller:
    return started.call


# What is listed


def test_the_tools_are_listed_before_anything_heavy_is_loaded(started: Any) -> None:
    assert {"mcp", "agentic_vision"} <= started.loaded
    assert not {"torch", "transformers", "langgraph", "openai"} & started.loaded
    assert started.client.server_info.name == "agentic-vision"
    assert "`glance` first" in started.client.instructions


def test_a_tool_says_what_it_takes(started: Any, folder: Path) -> None:
    schemas = {tool.name: tool.input_schema for tool in started.tools}
    assert list(schemas) == ["glance", "zoom_crop", "full_res", "resize", "rotate", "count_colours", "ask"]
    assert schemas["zoom_crop"]["required"] == ["image", "bbox_2d"]
    box = schemas["zoom_crop"]["properties"]["bbox_2d"]
    assert box["minItems"] == box["maxItems"] == 4
    assert "from 0 to 1000, relative to the image that is looked at" in box["description"]
    assert schemas["rotate"]["properties"]["degrees"]["enum"] == [90, 180, 270]
    assert str(folder) in schemas["glance"]["properties"]["image"]["description"]
    assert all(schema["additionalProperties"] is False for schema in schemas.values())
    assert all(tool.annotations.read_only_hint for tool in started.tools)


# What is shown


def test_a_glance_shows_a_quarter_of_the_visual_tokens(call: Caller, folder: Path) -> None:
    file, name, line = call.shown("glance", image="a plan.png")
    look = QWEN.glance((2400, 1600))
    assert (
        pixels(file).tobytes()
        == View.whole((2400, 1600), look.size).render(Source.open(folder / "a plan.png")).tobytes()
    )
    assert look.tokens <= look.full_tokens / 4
    assert line == (
        f"{name} (a plan.png, 2400 x 1600 pixels: all of it, shown at {look.size[0]} x {look.size[1]}; "
        f"{look.tokens} visual tokens, of {look.full_tokens} at full resolution)"
    )


def test_a_zoom_into_a_zoom_is_cut_from_the_source(call: Caller, folder: Path) -> None:
    source = Source.open(folder / "a plan.png")
    _, glance, _ = call.shown("glance", image="a plan.png")
    file, lower_right, line = call.shown("zoom_crop", image=glance, bbox_2d=[500, 500, 1000, 1000])
    assert pixels(file).tobytes() == crop(source.size, 1200, 800, 2400, 1600).render(source).tobytes()
    assert "its part [1200, 800, 2400, 1600], shown at 1216 x 800" in line
    file, detail, _ = call.shown("zoom_crop", image=lower_right, bbox_2d=[600, 500, 800, 700])
    assert pixels(file).tobytes() == crop(source.size, 1920, 1200, 2160, 1360).render(source).tobytes()
    assert pixels(file).getextrema()[0][0] < 30  # the letters, which the glance washes out
    file, _, _ = call.shown("rotate", image=detail, degrees=90)
    upright = crop(source.size, 1920, 1200, 2160, 1360)
    assert pixels(file).tobytes() == upright.rotated(90).render(source).tobytes()


def test_an_image_may_be_looked_at_closely_at_once(call: Caller, folder: Path) -> None:
    file, _, _ = call.shown("zoom_crop", image=(folder / "photo.png").as_uri(), bbox_2d=[0, 0, 500, 500])
    source = Source.open(folder / "photo.png")
    assert file == encoded(crop(source.size, 0, 0, 600, 450).render(source))[1]
    assert file.startswith(b"\xff\xd8")  # a photograph comes as JPEG


def test_what_was_seen_of_an_image_counts_for_it_alone(call: Caller) -> None:
    _, glance, _ = call.shown("glance", image="a plan.png")
    _, other, _ = call.shown("glance", image="a plan.png")
    call.shown("full_res", image=glance)
    assert "full resolution already" in call.wrong("resize", image=glance)
    call.shown("resize", image=other)


def test_a_tool_of_another_package_may_answer_with_text(call: Caller, folder: Path) -> None:
    _, glance, _ = call.shown("glance", image="inside.png")
    _, closer, _ = call.shown("zoom_crop", image=glance, bbox_2d=[0, 0, 1000, 500])
    seen = crop((160, 192), 0, 0, 160, 96).render(Source.open(folder / "receipt.png"))
    (content,) = call("count_colours", image=closer).content
    assert content.text == f"{len(seen.getcolors(1000))} colours in the last of 2 views"


def test_a_data_uri_is_an_image(call: Caller, folder: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode((folder / "receipt.png").read_bytes()).decode()
    file, _, line = call.shown("glance", image=uri)
    assert "data URI, 160 x 192 pixels" in line
    assert file == call.shown("glance", image="receipt.png")[0]
    assert file == call.shown("glance", image=str(folder / "receipt.png"))[0]


# What is answered


def test_the_agent_answers_and_tells_of_its_turns(call: Caller) -> None:
    turns = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        turns.append((done, total, message))

    result = call("ask", progress, images=["receipt.png"], question="What is the total?")
    (content,) = result.content
    told = result.structured_content
    assert (content.text, told["answer"], told["stop_reason"]) == ("25.15", "25.15", "answered")
    assert told["visual_tokens"] < told["full_resolution_tokens"] == 120
    assert told["saved"] == 1 - told["visual_tokens"] / 120
    assert turns[0] == (1, 3, "calls zoom_crop")
    assert turns[-1][2] == "answers"
    assert [done for done, _, _ in turns] == [*range(1, len(turns) + 1)]


# What is refused, with words that the client's model can act on; the server goes on


@pytest.mark.parametrize(
    "path",
    [
        "{outside}/secret.png",
        "file://{outside}/secret.png",
        "FILE://localhost{outside}/secret.png",
        "file:///{outside}/root/%2e%2e/secret.png",
        "../secret.png",
        "{root}/../secret.png",
        "out/secret.png",
        "{root}/out/secret.png",
        "out/root/../secret.png",
        "link.png",
        "{root}/link.png",
        "/proc/self/cwd/secret.png",
    ],
)
def test_the_outside_is_refused_whether_or_not_something_is_there(call: Caller, folder: Path, path: str) -> None:
    there = path.format(root=folder, outside=folder.parent)
    absent = there.replace("secret.png", "nothing.png").replace("link.png", "dangling.png")
    said = call.wrong("glance", image=there)
    assert str(folder) in said
    assert "outside of what this server may read" in said or "without '..'" in said
    assert call.wrong("glance", image=absent) == said.replace(there, absent)
    assert call.wrong("zoom_crop", image=there, bbox_2d=[0, 0, 10, 10]) == said
    assert call.wrong("ask", images=["receipt.png", there], question="What?") == said


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("absent.png", "there is no file absent.png in "),
        ("half.png", "half.png is damaged"),
        ("notes.png", "notes.png is not an image that can be read"),
        ("empty.png", "empty.png is not an image"),
        ("pipe.png", "pipe.png is not a file"),
        (".", "cannot be read (Is a directory)"),
        ("loop.png", "loop.png cannot be read"),
        ("", "cannot be read"),
        ("a\0b.png", "cannot be a path"),
        ("a" * 5000, "File name too long"),
        ("file://elsewhere/receipt.png", "on another machine"),
        ("file://[", "cannot be a path"),
        ("https://example.com/receipt.png", "URLs are not fetched"),
        ("data:image/png;base64,????", "not valid base64"),
        ("data:image/png;base64,", "empty"),
    ],
)
def test_an_image_that_is_none(call: Caller, image: str, said: str) -> None:
    told = call.wrong("glance", image=image)
    assert said in told
    assert len(told) < 500


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("glance", {}, "image: Field required"),
        ("glance", {"image": 3}, "image: Input should be a valid string"),
        ("glance", {"image": "receipt.png", "size": 4}, "size: Extra inputs"),
        ("zoom_crop", {"bbox_2d": [0, 0, 1, 1]}, "say which image to look at"),
        ("zoom_crop", {"image": 1, "bbox_2d": [0, 0, 1, 1]}, "say which image to look at"),
        ("zoom_crop", {"image": "receipt.png"}, "bbox_2d: Field required"),
        ("zoom_crop", {"image": "receipt.png", "bbox_2d": [9, 0, 1, 1]}, "x from 0 to 1000 and y from 0 to 1000"),
        ("zoom_crop", {"image": "receipt.png", "bbox_2d": [1000, 0, 2000, 1]}, "lies outside the image"),
        ("zoom_crop", {"image": "receipt.png", "bbox_2d": [0, 0, 9, 9], "sharp": 1}, "sharp: Extra inputs"),
        ("rotate", {"image": "receipt.png", "degrees": 45}, "degrees: Input should be 90, 180 or 270"),
        ("zoom_crop", {"image": "view 4040", "bbox_2d": [0, 0, 9, 9]}, "there is no view 4040"),
        ("ask", {"images": ["receipt.png"], "question": " "}, "question: String should have at least 1"),
        ("ask", {"images": [], "question": "What?"}, "images: List should have at least 1"),
        ("ask", {"images": ["receipt.png"] * 17, "question": "What?"}, "images: List should have at most 16"),
        ("enhance", {"image": "receipt.png"}, "The tools are: glance, zoom_crop, full_res"),
    ],
)
def test_a_wrong_call(call: Caller, tool: str, arguments: dict[str, Any], said: str) -> None:
    assert said in call.wrong(tool, **arguments)


# Over HTTP


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """An endpoint with a model whose key is wrong once."""
    with (model := Scripted([failure(401), chat(write(answer="blue"))])).serving() as url:
        yield SimpleNamespace(url=url, requests=model.requests)


@pytest.fixture(scope="module")
def url(folder: Path, model: Any) -> Iterator[str]:
    """The address of a server whose policy is that endpoint."""
    options = ("--root", str(folder), "--policy", "gpt-4o", "--base-url", model.url)
    command = [*COMMAND, "--http", "--port", "0", *options]
    environment = {**os.environ, "OPENAI_API_KEY": "key"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield server.stderr.readline().split()[-1]
        finally:
            server.terminate()


@pytest.fixture
def connected(portal: BlockingPortal, url: str) -> Iterator[Callable[[str], Caller]]:
    with contextlib.ExitStack() as stack:

        def connect(mode: str) -> Caller:
            client = Client(url, mode=mode)
            stack.enter_context(portal.wrap_async_context_manager(client))
            return Caller(portal, client)

        yield connect


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


# How it is started


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--root", "absent"], "the root absent is not a folder"),
        (["--family", "qwen9"], "no model family is called 'qwen9'"),
        (["--tools", "zoom"], "there is no tool 'zoom'"),
        (["--base-url", "http://localhost:8000/v1"], "name its model, --policy MODEL"),
    ],
)
def test_a_wrong_option_ends_it_with_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentic_vision.cli import app

    with pytest.raises(SystemExit) as ended:
        app(["mcp", *options])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_the_whole_machine_is_no_default_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentic_vision.cli import app

    monkeypatch.chdir("/")
    with pytest.raises(SystemExit):
        app(["mcp"])
    assert "say which, --root DIR" in capsys.readouterr().err


def test_several_roots_are_searched_in_order(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a plan.png", tmp_path / "receipt.png")
    assert Roots([folder, tmp_path]).open("receipt.png")[0].size == (160, 192)
    assert Roots([tmp_path, folder]).open("receipt.png")[0].size == (2400, 1600)
    assert Roots([tmp_path, folder]).open("photo.png")[0].size == (1200, 900)
    assert Roots([folder, folder.parent]).open("link.png")[0].size == (2400, 1600)
    with pytest.raises(ConfigError, match="not a folder"):
        Roots([folder / "receipt.png"])


def test_the_example_runs() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/mcp_client.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [
        "tools: glance zoom_crop full_res resize ask",
        "glance: view 1 (receipt.png, 160 x 192 pixels: all of it, shown at 80 x 96; 30 visual tokens, of 120 at "
        "full resolution)",
        "zoom_crop: view 2 (receipt.png, 160 x 192 pixels: its part [0, 96, 160, 192], shown at 160 x 96; 60 visual "
        "tokens)",
        "ask: 25.15",
        "50 visual tokens instead of 120",
    ]
