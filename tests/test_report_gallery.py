"""The gallery of a report: which trajectories are drawn, what a card shows, and filters that need no script."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import in_chromium, opened
from evaluations import honest, policy, ten_rows
from html_page import Page
from PIL import Image

from agentic_vision.evaluation import evaluate
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation
from agentic_vision.protocol import write
from agentic_vision.report.evaluations import Evaluations
from agentic_vision.report.gallery import chosen
from agentic_vision.report.page import Report, write_report

pytest.importorskip("matplotlib")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Ten questions: `glance` misses the odd ones, and so does the agent the one where it guesses."""
    evaluate(ten_rows(tmp_path), policy(), ["glance", "full", "agent"], tmp_path / "out")
    return tmp_path / "out"


def test_a_card_tells_how_it_went(out: Path) -> None:
    text = write_report(Report.of([out]), {}, out).read_text()  # the images are found where they were
    page = Page(text)
    assert page.open == []
    assert "Here are all of them" in text
    assert len(page.cards) == 30
    assert sum({"right", "called", "fine"} <= card for card in page.cards) == 4
    assert sum({"wrong", "direct", "fine", "harm"} <= card for card in page.cards) == 6
    assert not any("gain" in card for card in page.cards)
    assert 'id="only-gain"' not in text  # no choice that leaves nothing
    assert text.count("Too small.</blockquote>") == 4
    assert text.count('class="looked"') == 30
    assert '<b>Wrong:</b> no idea <span class="soft">should be</span> 3' in text
    assert len(text) < 5_000_000


def test_without_its_picture_a_card_says_the_rest(out: Path, tmp_path: Path) -> None:
    (tmp_path / "2.png").unlink()
    Image.new("RGB", (192, 160), "white").save(tmp_path / "4.png")  # not the one that was asked about
    text = write_report(Report.of([out]), {}, out).read_text()
    assert text.count('class="looked"') == 24
    assert len(Page(text).cards) == 30


def test_of_many_some_of_every_kind_are_drawn_and_the_same_again(out: Path) -> None:
    found = Evaluations.of([out])
    cards, total = chosen(found, most=8)
    assert (len(cards), total) == (8, 30)
    every = {card.kind for card in chosen(found)[0]}
    assert len(every) == 7
    assert {card.kind for card in cards} == every
    assert [card.outcome.row for card in cards] == [card.outcome.row for card in chosen(found, most=8)[0]]
    assert all(card.trajectory is not None for card in cards)


def test_what_is_very_long_does_not_make_a_large_page(tmp_path: Path) -> None:
    def endless(conversation: Conversation) -> str:
        if conversation.tools and len(conversation.images) == 1:
            return write(
                thought="so " * 200_000, calls=[("zoom_crop", {"bbox_2d": [0, 0, 9, 9], "why": "x" * 600_000})]
            )
        return write(thought="hm " * 200_000, answer="no " * 100_000)

    evaluate(ten_rows(tmp_path), ScriptedPolicy(endless, family="pocket"), ["agent", "full"], tmp_path / "out")
    assert len(write_report(Report.of([tmp_path / "out"]), {}, tmp_path / "out").read_bytes()) < 5_000_000


def test_two_evaluations_are_compared_where_they_asked_the_same(out: Path, tmp_path: Path) -> None:
    def wary(conversation: Conversation) -> str:
        return write(answer="no idea") if len(conversation.images) == 1 else honest(conversation)

    rows = ten_rows(tmp_path)
    evaluate(rows[:6], ScriptedPolicy(wary, family="pocket"), ["agent"], tmp_path / "new" / "out")
    text = write_report(Report.of([out, tmp_path / "new" / "out"]), {}, tmp_path / "page").read_text()
    assert f"{tmp_path.name}/out → new/out, question by question" in text
    assert '<th scope="row">agent</th><td>6</td><td>83.3 → 0.0</td>' in text
    assert "agent (new/out)" in text


@in_chromium
def test_the_filters_hide_cards_and_nothing_is_wider_than_a_phone(out: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "reward": 1, "accuracy": 0.5}\n{"step": 2, "reward": 2}\n')
    text = write_report(Report.of([out, run]), {}, out).read_text()
    script = """<script>
        for (const name of ["wrong", "fine", "s1"]) document.getElementById("only-" + name).checked = true;
        const shown = [...document.querySelectorAll(".card")].filter(card => getComputedStyle(card).display != "none");
        const page = document.documentElement;
        parent.postMessage(`${shown.length} shown, ${page.scrollWidth - page.clientWidth} too wide`, "*");
    </script>"""
    policy_off = text.replace("Content-Security-Policy", "Nothing")
    (tmp_path / "page.html").write_text(policy_off.replace("</body>", f"{script}</body>"))
    frame = tmp_path / "phone.html"  # windows of a browser are not made as narrow
    frame.write_text(
        "<!doctype html><title>none</title><script>onmessage = event => document.title = event.data</script>"
        '<iframe src="page.html" width="390" height="800"></iframe>'
    )
    dom = opened(frame, tmp_path / "profile")
    assert "<title>5 shown, 0 too wide</title>" in dom  # glance, which is wrong on fine questions
