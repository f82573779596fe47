"""Pages of hostile names, in a real browser: nothing in them runs, and what was said is shown as it was said."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from browser import in_chromium, opened
from evaluations import honest, ten_rows
from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.folder import by_strategy
from agentic_vision.messages import Trajectory
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, PromptStyle
from agentic_vision.protocol import write
from agentic_vision.report.page import Report, write_report
from agentic_vision.rows import Row
from agentic_vision.trace import trace_html

RUN = "document.documentElement.setAttribute('data-owned','1');document.title='OWNED'"
HOSTILE = (
    f"</title></style></p><script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">\' autofocus onfocus="{RUN}" x="',
    f'"><svg onload="{RUN}"><svg><script>{RUN}</script></svg>',
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe><base href='http://127.0.0.1:9/'>",
    f"<meta http-equiv='refresh' content='0;url=data:text/html,<script>{RUN}</script>'>",
    "\x00 \u202e $title ${question} \ud800"
    f'--><script>{RUN}</script><!-- ]]><![CDATA[ <details open ontoggle="{RUN}">',
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def guarded(page: str) -> bool:
    """Whether the policy stands before whatever a stranger has written."""
    head = page[: page.index("<title>")]
    return f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in head


def without_policy(path: Path) -> Path:
    """The same page with nothing but its escapes between a script and who reads it."""
    bare = path.with_name(f"bare-{path.name}")
    bare.write_text(re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", path.read_text(encoding="utf-8")))
    return bare


def ran(dom: str) -> bool:
    return "data-owned=" in dom.partition("<body")[0] or "<title>OWNED" in dom


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    picture = tmp_path / "a<b onclick=1>&'c'.png"
    Image.new("RGB", (256, 192), "white").save(picture)
    turns = [write(thought=text, calls=[(text, {text: text})]) for text in HOSTILE]
    turns += [f"<tool_call>{text}" for text in HOSTILE[:1]]
    answer = " ".join(HOSTILE)
    agent = VisionAgent(ScriptedPolicy([*turns, write(answer=answer)]), max_turns=20)
    asked = agent.ask(picture, " ".join(HOSTILE)).trajectory
    said = asked.model_dump(mode="json") | {"tools": HOSTILE, "family": HOSTILE[0], "id": HOSTILE[1]}
    path = tmp_path / "trace.html"
    hostile = Trajectory.model_validate({**said, "detail": HOSTILE[2]})
    path.write_bytes(trace_html(hostile, [picture]).encode("utf-8", "replace"))
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report in which every name that a data set or a model gives is hostile, a strategy's folder too."""
    pytest.importorskip("matplotlib")
    hostile = [
        {"id": f"{text}{n}", "question": f"Question {n}? {text}", "scene": f"{text}$\\frac{{$", "answer": text}
        for n, text in enumerate(HOSTILE * 2)
    ]
    rows = [Row.model_validate(row.model_dump() | said) for row, said in zip(ten_rows(tmp_path), hostile, strict=False)]

    def speak(conversation: Conversation) -> str:
        """Right at full resolution, wrong as an agent."""
        asked = next(message for message in conversation.messages if message.role == "user")
        answer = HOSTILE[int(asked.text.split()[1].rstrip("?")) % len(HOSTILE)]
        return write(answer=f"not {answer}" if conversation.tools else answer)

    folders = [tmp_path / "out", tmp_path / "<script>$x$"]
    for folder in folders:
        evaluate(rows, ScriptedPolicy(speak, family="pocket", style=PromptStyle.COMPACT), ["full", "agent"], folder)
    path = write_report(Report.of(folders), {row.id: row for row in rows}, folders[0])
    assert sum(len(found) for found in by_strategy(folders[0]).values()) == 20
    return path


@in_chromium
def test_the_browser_would_run_it(tmp_path: Path) -> None:
    """Or the tests below would say nothing."""
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><html><head><title>$</title></head><body>{HOSTILE[1]}</body></html>")
    assert ran(opened(path, tmp_path / "profile"))
    page = f"<!doctype html><html><head><meta http-equiv='Content-Security-Policy' content=\"{POLICY}\">"
    path.write_text(f"{page}<title>$</title></head><body>{HOSTILE[1]}</body></html>")
    assert not ran(opened(path, tmp_path / "profile"))


@in_chromium
def test_a_trace_runs_nothing_with_its_policy_or_without(trace: Path, tmp_path: Path) -> None:
    assert guarded(trace.read_text(encoding="utf-8"))
    for path in (trace, without_policy(trace)):
        dom = opened(path, tmp_path / "profile")
        assert not ran(dom)
        assert not re.findall(r"<(?:script|iframe|base|object|embed)\b", dom)
        assert "document.title='OWNED'" in html.unescape(dom)  # it is shown all the same


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """A report of training runs whose folders, figures and settings are named by a stranger."""
    folders = [tmp_path / f"run {name}" for name in ("<script>$x$", "'onmouseover='alert(1)", "&<!--")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        hostile = {text: {text: text} for text in HOSTILE} | {"steps": 9, "seed": number, "description": HOSTILE[0]}
        (folder / "recipe.json").write_text(json.dumps(hostile))
        told = {name: 0.5 for text in HOSTILE for name in (text, f"part_{text}", f"val_{text}")} | {"reward": number}
        lines = [json.dumps({"step": step, **told}) for step in (1, 2)] + [*HOSTILE[:2], '{"step": "<b>"}']
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return write_report(Report.of([*folders, tmp_path / HOSTILE[5][-20:]], wait=True), {}, tmp_path, again=5)


@in_chromium
def test_a_report_of_training_runs_nothing(curves: Path, tmp_path: Path) -> None:
    assert guarded(curves.read_text(encoding="utf-8"))
    for path in (curves, without_policy(curves)):
        dom = opened(path, tmp_path / "profile")
        assert not ran(dom)
        assert not re.findall(r"<(?:script|iframe|base|object|embed)\b", dom)
        assert dom.count('http-equiv="refresh"') == 1  # our own
        assert "document.title='OWNED'" in html.unescape(dom)
        assert "3 lines are broken" in dom


@in_chromium
def test_a_report_runs_nothing_nor_do_its_pages(report: Path, tmp_path: Path) -> None:
    pages = sorted((report.parent / "disagreements").glob("*.html"))
    links = re.findall(r'<a href="disagreements/([^"]*)">', report.read_text(encoding="utf-8"))
    assert sorted(links) == [page.name for page in pages]
    assert len(pages) == len(set(links)) >= 5
    assert all(guarded(page.read_text(encoding="utf-8")) for page in (report, *pages))
    for path in (report, without_policy(report), without_policy(pages[0])):
        dom = opened(path, tmp_path / "profile")
        assert not ran(dom)
        assert not re.findall(r"<(?:script|iframe|base|object|embed)\b", dom)


def test_rows_whose_names_look_alike_have_pages_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second, gone = ten_rows(tmp_path)[1:6:2]
    rows = [
        first.model_copy(update={"id": "a/b", "question": "Question 1?"}),
        second.model_copy(update={"id": "a_b", "question": "Question 1? Really?"}),
        gone.model_copy(update={"id": "A", "question": "Question 1? And this?"}),
    ]
    policy = ScriptedPolicy(honest, family="pocket", style=PromptStyle.COMPACT)
    evaluate([row.model_copy(update={"answer": "1"}) for row in rows], policy, ["full", "agent"], tmp_path / "out")
    # The last row's image is not known any more: its page is left out, and the others keep theirs.
    path = write_report(Report.of([tmp_path / "out"]), {row.id: row for row in rows[:2]}, tmp_path / "out")
    links = re.findall(r'<a href="([^"]*)">([^<]*)</a></th><td[^>]*>([^<]*)', path.read_text(encoding="utf-8"))
    assert [(name, question) for _, name, question in links] == [(row.id, row.question) for row in rows[:2]]
    for page, _, question in links:
        assert f"<title>{question}</title>" in (path.parent / page).read_text(encoding="utf-8")
