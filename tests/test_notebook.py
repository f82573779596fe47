"""A result in a notebook: the trace in brief, at home in a page that is not ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import in_chromium, opened
from PIL import Image

from agentic_vision.agent import Result, VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write

CROP = write(thought="Too small.", calls=[("zoom_crop", {"bbox_2d": [500, 500, 900, 800]})])
NASTY = "</style></div><script>document.title='OWNED'</script><img src=x onerror=\"document.title='OWNED'\"> \ud800"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    image = Image.new("RGB", (256, 192), "white")
    image.paste((200, 30, 30), (150, 100, 220, 140))
    image.save(path)
    return path


def asked(picture: Path, *replies: str, question: str = "What is it?") -> Result:
    return VisionAgent(ScriptedPolicy(list(replies), family="pocket")).ask(picture, question)


def test_a_notebook_shows_the_answer_its_cost_and_the_picture(picture: Path) -> None:
    html = asked(picture, CROP, write(answer="red"))._repr_html_()
    outside, _, folded = html.partition("<details>")
    for said in ("What is it?", "red", "visual tokens seen", 'class="bar"', "View 2: zoom_crop"):
        assert said in outside
    assert "Step by step: 2 turns, 2 views" in folded
    assert "Too small." in folded
    assert folded.count("<img ") == 2


def test_several_results_on_one_page_do_not_mix(picture: Path) -> None:
    pages = [asked(picture, CROP, write(answer=answer))._repr_html_() for answer in ("red", "blue")]
    first, second = ({*re.findall(r'\bid="([^"]+)"', page)} for page in pages)
    assert first
    assert not first & second
    for page, ids in zip(pages, (first, second), strict=True):
        assert set(re.findall(r'href="#([^"]+)"', page)) <= ids


def test_a_noisy_photo_makes_an_output_under_a_megabyte(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.effect_noise((2000, 1500), 90).convert("RGB").save(photo, quality=90)
    replies = [CROP, write(calls=[("full_res", {})]), write(answer="noise")]
    result = VisionAgent(ScriptedPolicy(replies, family="qwen3-vl")).ask(photo, "What is it?")
    assert 300_000 < len(result._repr_html_()) < 1_000_000


def test_a_result_whose_picture_has_gone_is_shown_without_it(picture: Path) -> None:
    result = asked(picture, CROP, write(answer="red"))
    picture.unlink()
    html = result._repr_html_()
    assert "Without its pictures: " in html
    assert "data:image" not in html
    for said in ("red", "256 &times; 192 pixels", "What zoom_crop showed", "from (128, 96) to (231, 154)"):
        assert said in html


@in_chromium
def test_its_styles_stay_inside_and_nothing_in_it_runs(picture: Path, tmp_path: Path) -> None:
    """What stands around it looks as it did, and it looks as it should in the notebook's own theme."""
    html = asked(picture, write(thought=NASTY, calls=[(NASTY, {NASTY: 1})]), write(answer=NASTY), question=NASTY)
    theirs = "<h2>Theirs</h2><table><tr><td>1</td></tr></table><a href='#'>there</a><pre>code</pre><p>text</p>"
    told = (
        "[...document.querySelectorAll('h2, table, td, a, pre, p, body')].filter(e => !e.closest('.agentic-vision'))"
        ".map(e => ((s) => [s.color, s.margin, s.padding, s.font, s.backgroundColor])(getComputedStyle(e)))"
    )
    ours = "getComputedStyle(document.querySelector('.agentic-vision')).backgroundColor"
    link = "getComputedStyle(document.querySelector('.agentic-vision .number')).color"
    steps = "getComputedStyle(document.querySelector('.agentic-vision .steps')).paddingLeft"
    script = (
        "onload = () => { let one = document.querySelector('.agentic-vision'), parent = one.parentNode;"
        f"let seen = [{ours}]; for (let theme of ['true', 'false']) {{ document.body.dataset.jpThemeLight = theme;"
        f"seen.push({ours}); }} seen.push({link}, {steps}); let styled = JSON.stringify({told}); one.remove();"
        f"seen.push(styled === JSON.stringify({told})); document.title += seen.join(' / '); }}"
    )
    jupyter = (  # as JupyterLab has it for what it shows
        "<style>.jp-RenderedHTMLCommon a:link { color: red } "
        ".jp-RenderedHTMLCommon ol:not(.list-inline) { padding-left: 2em }</style>"
    )
    inside = f"{jupyter}<div class=jp-RenderedHTMLCommon>{html._repr_html_()}</div>"
    page = tmp_path / "page.html"
    shown = f"<title></title><body><script>{script}</script>{theirs}{inside}{theirs}"
    page.write_text(f"<!doctype html><meta charset=utf-8>{shown}", encoding="utf-8")
    dom = opened(page, tmp_path / "profile")
    light, dark = "rgb(246, 245, 241)", "rgb(20, 22, 26)"
    assert re.findall(r"<title>(.*)</title>", dom) == [f"{light} / {light} / {dark} / {dark} / 22px / true"]
