"""The MCP server, as clients meet it: the SDK's own client, over real pipes."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from agentic_vision import Source, View, family
from agentic_vision.policies.image_bytes import encoded

pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")

from mcp import Client, StdioServerParameters, stdio_client
from mcp_caller import COMMAND, ROOT, Caller, calling

QWEN = family("qwen3-vl")

COUNT = '''
from agentic_vision import ToolContext, View, visual_tool

@visual_tool
def count_colours(view: View, context: ToolContext) -> str:
    """Count the colours."""
    return f"{len(view.render(context.source).getcolors(1000))} colours in the last of {len(context.views)} views"
'''


def pixels(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def crop(size: tuple[int, int], *box: int) -> View:
    """What is shown of a box in source pixels."""
    x0, y0, x1, y1 = box
    whole = View.whole(size)
    view = whole.crop(whole.box.model_copy(update={"x0": x0, "y0": y0, "x1": x1, "y1": y1}))
    return view.resized(QWEN.full(view.size))


@pytest.fixture(scope="module")
def started(readable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
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
        args=[*COMMAND[1:], "--root", str(readable), "--max-turns", "3", *tools],
        env={"PYTHONPATH": os.pathsep.join([str(theirs), str(ROOT)]), "PYTHONPROFILEIMPORTTIME": "1"},
    )
    log = theirs / "log.txt"
    with log.open("w") as errors, calling(Client(stdio_client(parameters, errlog=errors))) as call:
        listed = call.portal.call(call.client.list_tools).tools
        loaded = set(re.findall(r"\| +(\w+)$", log.read_text(), re.MULTILINE))
        yield SimpleNamespace(call=call, tools=listed, loaded=loaded, client=call.client)


@pytest.fixture(scope="module")
def call(started: Any) -> Caller:
    return started.call


# What is listed


def test_the_tools_are_listed_before_anything_heavy_is_loaded(started: Any) -> None:
    assert {"mcp", "agentic_vision"} <= started.loaded
    assert not {"torch", "transformers", "langgraph", "openai"} & started.loaded
    assert started.client.server_info.name == "agentic-vision"
    assert "`glance` first" in started.client.instructions


def test_a_tool_says_what_it_takes(started: Any, readable: Path) -> None:
    schemas = {tool.name: tool.input_schema for tool in started.tools}
    assert list(schemas) == ["glance", "zoom_crop", "full_res", "resize", "rotate", "count_colours", "ask"]
    assert schemas["zoom_crop"]["required"] == ["image", "bbox_2d"]
    box = schemas["zoom_crop"]["properties"]["bbox_2d"]
    assert box["minItems"] == box["maxItems"] == 4
    assert "from 0 to 1000, relative to the image that is looked at" in box["description"]
    assert schemas["rotate"]["properties"]["degrees"]["enum"] == [90, 180, 270]
    assert str(readable) in schemas["glance"]["properties"]["image"]["description"]
    assert all(schema["additionalProperties"] is False for schema in schemas.values())
    assert all(tool.annotations.read_only_hint for tool in started.tools)


# What is shown


def test_a_glance_shows_a_quarter_of_the_visual_tokens(call: Caller, readable: Path) -> None:
    file, name, line = call.shown("glance", image="a plan.png")
    look = QWEN.glance((2400, 1600))
    assert (
        pixels(file).tobytes()
        == View.whole((2400, 1600), look.size).render(Source.open(readable / "a plan.png")).tobytes()
    )
    assert look.tokens <= look.full_tokens / 4
    assert line == (
        f"{name} (a plan.png, 2400 x 1600 pixels: all of it, shown at {look.size[0]} x {look.size[1]}; "
        f"{look.tokens} visual tokens, of {look.full_tokens} at full resolution)"
    )


def test_a_zoom_into_a_zoom_is_cut_from_the_source(call: Caller, readable: Path) -> None:
    source = Source.open(readable / "a plan.png")
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


def test_an_image_may_be_looked_at_closely_at_once(call: Caller, readable: Path) -> None:
    file, _, _ = call.shown("zoom_crop", image=(readable / "photo.png").as_uri(), bbox_2d=[0, 0, 500, 500])
    source = Source.open(readable / "photo.png")
    assert file == encoded(crop(source.size, 0, 0, 600, 450).render(source))[1]
    assert file.startswith(b"\xff\xd8")  # a photograph comes as JPEG


def test_what_was_seen_of_an_image_counts_for_it_alone(call: Caller) -> None:
    _, glance, _ = call.shown("glance", image="a plan.png")
    _, other, _ = call.shown("glance", image="a plan.png")
    call.shown("full_res", image=glance)
    assert "full resolution already" in call.wrong("resize", image=glance)
    call.shown("resize", image=other)


def test_a_tool_of_another_package_may_answer_with_text(call: Caller, readable: Path) -> None:
    _, glance, _ = call.shown("glance", image="inside.png")
    _, closer, _ = call.shown("zoom_crop", image=glance, bbox_2d=[0, 0, 1000, 500])
    seen = crop((160, 192), 0, 0, 160, 96).render(Source.open(readable / "receipt.png"))
    (content,) = call("count_colours", image=closer).content
    assert content.text == f"{len(seen.getcolors(1000))} colours in the last of 2 views"


def test_a_data_uri_is_an_image(call: Caller, readable: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode((readable / "receipt.png").read_bytes()).decode()
    file, _, line = call.shown("glance", image=uri)
    assert "data URI, 160 x 192 pixels" in line
    assert file == call.shown("glance", image="receipt.png")[0]
    assert file == call.shown("glance", image=str(readable / "receipt.png"))[0]


# What is answered


def test_the_agent_answers_and_tells_of_its_turns(call: Caller) -> None:
    pytest.importorskip("torch")
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
def test_the_outside_is_refused_whether_or_not_something_is_there(call: Caller, readable: Path, path: str) -> None:
    there = path.format(root=readable, outside=readable.parent)
    absent = there.replace("secret.png", "nothing.png").replace("link.png", "dangling.png")
    said = call.wrong("glance", image=there)
    assert str(readable) in said
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
        ("empty.png", "empty.png is empty"),
        ("pipe.png", "pipe.png is not a file"),
        (".", "cannot be read (Is a directory)"),
        ("loop.png", "loop.png cannot be read"),
        ("", "cannot be read"),
        ("a\0b.png", "cannot be a path"),
        ("a" * 5000, "File name too long"),
        ("file://elsewhere/receipt.png", "on another machine"),
        ("file://[", "cannot be a path"),
        ("https://example.com/receipt.png", "URLs are not fetched"),
        ("HTTP://127.0.0.1/receipt.png", "have the server started with --allow-urls"),
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
