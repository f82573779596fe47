"""What all our pages share: colours that can be told apart, pictures within their bytes, and room on a phone."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from browser import in_chromium, opened
from PIL import Image

from agentic_vision import Source, VisionAgent
from agentic_vision.page import MARKS, mark, picture_uri, style
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.trace import trace_html

LIGHT_AND_DARK = re.compile(r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\)")
MARK_NAMES = [f"mark{number}" for number in range(1, MARKS + 1)]

TEXT = [  # what is written on what, in page.css, trace.css and the pages that use them
    *((text, back) for text in ("ink", "soft", "accent", "good", "bad") for back in ("paper", "card")),
    *((text, "wash") for text in ("ink", "soft", "accent")),
    ("good", "good-wash"),
    *((text, "bad-wash") for text in ("bad", "ink", "soft")),
    *(("on-mark", name) for name in MARK_NAMES),
]
SHAPES = [*((name, back) for name in MARK_NAMES for back in ("paper", "card", "wash", "on-mark"))]


def palette(scheme: int) -> dict[str, str]:
    return {name: colours[scheme] for name, *colours in LIGHT_AND_DARK.findall(style("page.css"))}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21)
    assert contrast("777777", "ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_can_be_told_from_what_is_behind_them(scheme: int) -> None:
    colours = palette(scheme)
    dim = {(text, back): contrast(colours[text], colours[back]) for text, back in TEXT}
    assert {pair: ratio for pair, ratio in dim.items() if ratio < 4.5} == {}  # WCAG AA, text
    faint = {(shape, back): contrast(colours[shape], colours[back]) for shape, back in SHAPES}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 3} == {}  # WCAG AA, graphics


def test_things_are_told_apart_by_six_colours_in_turn() -> None:
    assert [mark(number) for number in (1, 6, 7)] == ["var(--mark1)", "var(--mark6)", "var(--mark1)"]
    used = set(re.findall(r"var\(--([\w-]+)", style("page.css", "trace.css", "notebook.css")))
    given = {"mark", "dot", "ring", "stroke", "tint", "pictures"}  # by the elements themselves
    assert used <= set(palette(0)) | given


def test_a_scoped_sheet_is_about_one_element_alone() -> None:
    css = style("page.css", more=":root:has(#a) #b { --x: 1; }", scope="mine")
    assert css.startswith(".mine.mine {\n& {\n  color-scheme")
    assert "&:has(#a) #b" in css
    assert ":root" not in css
    assert css.count("{") == css.count("}")


@pytest.mark.parametrize("most", [150_000, 20_000, 300])
def test_a_noisy_picture_keeps_within_its_bytes(most: int) -> None:
    noise = Image.effect_noise((900, 600), 90).convert("RGB")
    head, _, data = picture_uri(noise, most).partition(",")
    assert head == "data:image/webp;base64"
    assert len(b64decode(data)) <= most
    with Image.open(BytesIO(b64decode(data))) as kept:
        assert kept.width / kept.height == pytest.approx(1.5, rel=0.1)


def test_small_pictures_and_drawings_lose_nothing() -> None:
    for picture in (Image.effect_noise((60, 40), 90).convert("RGB"), Image.new("RGB", (900, 700), "teal")):
        head, _, data = picture_uri(picture, 100_000).partition(",")
        assert head == "data:image/png;base64"
        with Image.open(BytesIO(b64decode(data))) as kept:
            assert kept.tobytes() == picture.tobytes()


@in_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    """Not with a word without blanks wherever there is a word, either."""
    word = "Donaudampfschifffahrt" * 12
    tall, wide = tmp_path / f"{'tall' * 40}.png", tmp_path / "wide.png"
    Image.new("RGB", (300, 3000), "teal").save(tall)
    Image.new("RGB", (3000, 300), "navy").save(wide)
    replies = [
        write(thought=word, calls=[("zoom_crop", {"bbox_2d": [100, 100, 900, 300]}), (word, {word: [word]})]),
        f"<tool_call>{word}",
        write(answer=word),
    ]
    result = VisionAgent(ScriptedPolicy(replies, family="qwen3-vl")).ask([tall, wide], word)
    trace = tmp_path / "trace.html"
    trace.write_text(trace_html(result.trajectory, [Source.open(tall), Source.open(wide)]), encoding="utf-8")
    brief = tmp_path / "brief.html"
    inside = result._repr_html_().replace("<details>", "<details open>")
    brief.write_text(f"<!doctype html><meta charset=utf-8><body style='margin:0'>{inside}", encoding="utf-8")
    frames = "".join(f"<iframe src={page.name} width={width} height=900></iframe>" for page in (trace, brief))
    told = "frame => frame.contentDocument.documentElement.scrollWidth - frame.contentWindow.innerWidth"
    script = f"onload = () => document.title = [...document.querySelectorAll('iframe')].map({told}).join()"
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><style>iframe {{ border: 0 }}</style><script>{script}</script>{frames}")
    dom = opened(page, tmp_path / "profile", "--allow-file-access-from-files", "--hide-scrollbars")
    assert re.findall(r"<title>(.*)</title>", dom) == ["0,0"]
