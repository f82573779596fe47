"""The trace page: one file that shows all that the agent saw; nothing in it acts on who reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from agentic_vision.agent import Result, VisionAgent
from agentic_vision.errors import ConfigError
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.trace import save_trace, trace_html

NASTY = "</title><script>alert(1)</script><img src=x onerror='alert(2)'>\" & \ud800"


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a<b>&'c'.png"
    image = Image.new("RGB", (256, 192), "white")
    image.paste((200, 30, 30), (150, 100, 220, 140))
    image.save(path)
    return path


def asked(replies: list[str], *images: Path, question: str = "What is it?", **options: object) -> Result:
    agent = VisionAgent(ScriptedPolicy(replies, family="pocket"), **options)  # type: ignore[arg-type]
    return agent.ask(list(images), question)


CROP = write(thought="Too small.", calls=[("zoom_crop", {"bbox_2d": [500, 500, 900, 800]})])


def test_every_view_is_shown_beside_its_place_on_the_picture(picture: Path) -> None:
    result = asked([CROP, write(calls=[("full_res", {})]), write(answer="red")], picture)
    html = trace_html(result.trajectory, [picture])
    page = Page(html)
    shown = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(shown) == len(result.trajectory.views) == 3
    frames = re.findall(r'<rect class="window" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', html)
    boxes = [(v.box.x0, v.box.y0, v.box.width, v.box.height) for v in result.trajectory.views]
    # Once each on the large picture, once each on the small map beside the view.
    assert sorted(tuple(map(float, frame)) for frame in frames) == sorted(boxes * 2)
    for said in ("Too small.", "zoom_crop", "bbox_2d=[500, 500, 900, 800]", "red", "3 turns"):
        assert said in page.text
    usage = result.usage
    assert f"{usage.visual_tokens} visual tokens seen, {usage.full_resolution_tokens} at full" in page.text


def test_the_page_is_one_file_that_fetches_and_runs_nothing(picture: Path) -> None:
    page = Page(trace_html(asked([CROP, write(answer="red")], picture).trajectory, [picture]))
    policy = next(attrs for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "data:").startswith(("data:image/", "data:", "#"))


def test_whatever_was_said_is_shown_as_text(picture: Path, tmp_path: Path) -> None:
    call = write(thought=NASTY, calls=[("zoom_crop", {"bbox_2d": [0, 0, 500, 500], NASTY: NASTY})])
    unknown = write(calls=[("<b>tool</b>", {})])
    result = asked([call, unknown, write(answer=NASTY)], picture, question=NASTY)
    path = save_trace(result.trajectory, [picture], tmp_path / "trace.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.tags} & {"script", "b>tool<"}
    assert "alert(2)" in page.text
    assert not [attrs for tag, attrs in page.tags if tag == "img" and not (attrs["src"] or "").startswith("data:")]
    assert "<b>tool</b>" in page.text
    assert "a<b>&'c'.png" in page.text


def test_failures_and_malformed_turns_are_told_plainly(picture: Path) -> None:
    outside = write(calls=[("zoom_crop", {"bbox_2d": [1500, 1500, 1900, 1900]})])
    result = asked([outside, "<tool_call>{", "hm"], picture, max_turns=3)
    page = Page(trace_html(result.trajectory, [picture]))
    assert "No answer: the turn limit was reached" in page.text
    for said in (
        "zoom_crop failed: outside image",
        "Malformed turn: unclosed call",
        "turn: no action",
        "Told the model",
    ):
        assert said in page.text


def test_spending_more_than_full_resolution_is_not_called_saving(picture: Path) -> None:
    result = asked([write(calls=[("full_res", {})]), write(answer="red")], picture)
    assert result.usage.saved < 0
    assert "25% more than at full resolution" in Page(trace_html(result.trajectory, [picture])).text


def test_each_of_several_pictures_has_its_own_place(picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (128, 128), "blue").save(other)
    page = Page(trace_html(asked([write(answer="2")], picture, other).trajectory, [picture, other]))
    assert "Picture 1: " in page.text
    assert "Picture 2: other.png" in page.text
    assert [attrs["id"] for tag, attrs in page.tags if tag == "symbol"] == ["source0", "source1"]


def test_windows_and_views_lead_to_one_another(picture: Path) -> None:
    page = Page(trace_html(asked([CROP, write(answer="red")], picture).trajectory, [picture]))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs for tag, attrs in page.tags if tag == "a"]
    assert {(link["href"] or "#").removeprefix("#") for link in links} <= set(ids)
    assert [(link["id"], link["href"]) for link in links if "id" in link] == [("box1", "#view1"), ("box2", "#view2")]
    assert [link["href"] for link in links if link.get("class") == "number"] == ["#box1", "#box2"]
    for said in (
        "View 1: glance, the whole picture, 48 visual tokens",
        "View 2: zoom_crop, from (128, 96) to (231, 154)",
    ):
        assert said in page.text


def test_the_page_can_be_found_ones_way_in_without_seeing_it(picture: Path) -> None:
    """Landmarks, headings that skip no level, and words for every picture and bar."""
    outside = write(calls=[("zoom_crop", {"bbox_2d": [1500, 1500, 1900, 1900]})])
    page = Page(trace_html(asked([CROP, outside, write(answer="red")], picture).trajectory, [picture]))
    tags = [tag for tag, _ in page.tags]
    assert [tags.count(landmark) for landmark in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert next(attrs["href"] for tag, attrs in page.tags if tag == "a") == "#steps"
    for tag, attrs in page.tags:
        if tag == "img":
            assert re.fullmatch(r"View \d as the model saw it: .+", attrs["alt"] or "")
        if attrs.get("role") in ("img", "group"):
            assert attrs.get("aria-label")


def test_what_came_back_is_in_the_turn_that_asked_for_it(picture: Path) -> None:
    boxes = ([500, 500, 900, 800], [1500, 1500, 1900, 1900])
    two = write(calls=[("zoom_crop", {"bbox_2d": box}) for box in boxes])
    result = asked([two, write(thought="Hm.", answer="red")], picture)
    turns = trace_html(result.trajectory, [picture]).split("<li")[2:]
    assert len(turns) == 2
    order = ("[500, 500, 900, 800]", "What zoom_crop showed", "[1500, 1500, 1900, 1900]", "zoom_crop failed")
    assert sorted(order, key=turns[0].index) == list(order)
    assert "Not carried out" not in turns[0]


def test_a_call_that_was_not_carried_out_is_told(picture: Path) -> None:
    agent = VisionAgent(ScriptedPolicy([CROP, CROP], family="pocket"), max_turns=1)
    html = trace_html(agent.ask(picture, "What is it?").trajectory, [picture])
    assert "Not carried out: here it ended." in html


def test_each_question_of_a_thread_has_its_section(picture: Path) -> None:
    replies = [CROP, write(answer="red"), write(answer="a square")]
    agent = VisionAgent(ScriptedPolicy(replies, family="pocket"), checkpointer=InMemorySaver())
    agent.ask(picture, "Which colour?", thread_id="one")
    result = agent.ask(None, "Which <shape>?", thread_id="one")
    html = trace_html(result.trajectory, [picture])
    assert "to the last of 2 questions: Which &lt;shape&gt;?" in html
    first, second = html.split('<section class="thread"')[1:]
    assert ("Turn 1" in first, "Turn 2" in first, "red" in first) == (True, True, True)
    assert ("Turn 3" in second, "Which &lt;shape&gt;?" in second, "a square" in second) == (True, True, True)


def test_a_photo_of_48_megapixels_makes_a_page_under_two_megabytes(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    block = np.random.default_rng(0).normal(128, 45, (992, 1008, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(np.tile(block, (6, 8, 1))).save(photo, quality=80)
    crops = [("zoom_crop", {"bbox_2d": [at, at, at + 250, at + 250]}) for at in (0, 300, 600)]
    replies = [write(calls=crops), write(calls=[("full_res", {})]), write(answer="noise")]
    result = VisionAgent(ScriptedPolicy(replies, family="qwen3-vl")).ask(photo, "What is it?")
    assert result.trajectory.views[0].source_size == (8064, 5952)
    assert len(result.trajectory.views) == 5
    assert result.save_trace(tmp_path / "trace.html").stat().st_size < 2_000_000


def test_another_picture_than_the_one_asked_about_is_refused(picture: Path, tmp_path: Path) -> None:
    result = asked([write(answer="red")], picture)
    other = tmp_path / "other.png"
    Image.new("RGB", (256, 192), "blue").save(other)
    with pytest.raises(ConfigError, match="not the one that was asked about"):
        trace_html(result.trajectory, [other])


def test_a_path_that_cannot_be_written_is_told(picture: Path, tmp_path: Path) -> None:
    result = asked([write(answer="red")], picture)
    with pytest.raises(ConfigError, match=r"cannot write the trace to .*No such file or directory"):
        result.save_trace(tmp_path / "nowhere" / "trace.html")
