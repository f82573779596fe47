"""The page on which one watches the agent look: what it streams, whom it refuses, and what a browser makes of it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import driven, in_chromium
from endpoint_agent import RECEIPT
from endpoints import Scripted, serving
from scripted_agent import Failing
from server_client import Slow, until
from typer.testing import CliRunner

from agentic_vision import VisionAgent
from agentic_vision.cli import app
from agentic_vision.image_limits import ImageLimits
from agentic_vision.play.app import AT_ONCE, create_app
from agentic_vision.play.examples import EXAMPLES
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.source import Source
from agentic_vision.training.data.pocket_vqa import pocket_rows
from agentic_vision.view import View

TOOLS = ["zoom_crop", "full_res", "resize"]
SENT = base64.b64encode(RECEIPT.read_bytes()).decode()
QUESTION: dict[str, Any] = {"question": "What is the total?", "tools": TOOLS, "picture": SENT, "name": "receipt.png"}
NASTY = "</style><script>document.title='OWNED'</script><img src=x onerror=\"document.title='OWNED'\"> \ud800"


@pytest.fixture(scope="module")
def site(embedded: VisionAgent) -> Iterator[str]:
    with serving(create_app(embedded, "the small one", ["127.0.0.1"])) as url:
        yield root(url)


def root(url: str) -> str:
    return url.removesuffix("/v1").rstrip("/")


def asked(site: str, **changed: Any) -> list[dict[str, Any]]:
    """The updates of a question, which have come in pieces."""
    with httpx.stream("POST", f"{site}/ask", json={**QUESTION, **changed}, timeout=60) as reply:
        assert reply.status_code == 200, reply.read()
        return [json.loads(line) for line in reply.iter_lines()]


def done(updates: list[dict[str, Any]], lane: str = "agent") -> dict[str, Any]:
    (told,) = (update["done"] for update in updates if update.get("lane") == lane and "done" in update)
    return told


@contextlib.contextmanager
def playing(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and where it says that it plays."""
    command = [sys.executable, "-m", "agentic_vision", "play", "--port", "0", *options]
    env = {**os.environ, "COLUMNS": "200", "OPENAI_API_KEY": "k"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stderr is not None
            found = None
            while not found:
                said = server.stderr.readline()
                assert said, "it ended before it played"
                found = re.search(r"plays on (http://127\.0\.0\.1:\d+)", said)
            yield server, found.group(1)
        finally:
            server.kill()


def test_the_command_plays() -> None:
    with playing() as (_, at):
        assert "Watch the agent look" in httpx.get(at, timeout=30).text
        assert done(asked(at))["answer"] == "25.15"
        taken = CliRunner().invoke(app, ["play", "--port", at.rpartition(":")[2]])
        assert (taken.exit_code, "give another --port" in taken.stderr) == (2, True)


def test_ctrl_c_ends_it_at_once_whatever_it_waits_for() -> None:
    never = Scripted([])
    never.script.append(never.hangs())
    with never.serving() as endpoint, playing("--policy", "m", "--base-url", endpoint) as (server, at):
        with httpx.stream("POST", f"{at}/ask", json=QUESTION, timeout=60) as reply:
            lines = reply.iter_lines()
            next(lines)
            until(lambda: never.requests)
            server.send_signal(signal.SIGINT)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert server.wait(20) == 130
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


def test_the_steps_come_in_their_order(site: str) -> None:
    updates = asked(site)
    kinds = [next(kind for kind in ("html", "text", "done") if kind in update) for update in updates]
    order = [kind for n, kind in enumerate(kinds) if kinds[n - 1 : n] != [kind] or kind == "html"]
    # The glance; a thought and its call, the turn, the view; a thought and the answer, the turn; the end.
    assert order == ["html", "text", "html", "html", "text", "html", "html", "done"]
    pages = [update["html"] for update in updates if "html" in update]
    assert ["What zoom_crop showed" in page for page in pages] == [False, False, True, True, True]
    assert ["Looking &hellip;" in page for page in pages] == [False, True, False, False, False]
    assert ['<p class="answer">' in page for page in pages] == [False, False, False, False, True]
    assert "".join(update.get("text", "") for update in updates).startswith("<think>Too small to read.</think>")
    told = done(updates)
    assert (told["answer"], told["tool_calls"]) == ("25.15", ["zoom_crop"])
    assert told["visual_tokens"] == 50 < told["full_resolution_tokens"] == 120


def test_without_tools_it_goes_another_way(site: str) -> None:
    told = done(asked(site, tools=[]))
    assert (told["tool_calls"], told["visual_tokens"]) == ([], 30)


def test_full_resolution_stands_beside_it(site: str) -> None:
    updates = asked(site, compare=True)
    both = done(updates), done(updates, "full")
    assert [told["answer"] for told in both] == ["25.15", "25.15"]
    assert [told["visual_tokens"] for told in both] == [50, 120]
    assert both[1]["tool_calls"] == []
    table = updates[-1]["comparison"]
    assert re.findall(r"<td>(\d+)</td>", table) == ["50", "120"]
    assert len(re.findall(r"\d\.\d\d s", table)) == 2


def test_the_examples_are_those_of_the_benchmark() -> None:
    rows = list(pocket_rows(8, 7, "heldout"))
    assert EXAMPLES["receipt"].png == RECEIPT.read_bytes()
    for name, row in (("cards", 0), ("chart", 5), ("plan", 7)):
        assert EXAMPLES[name].question == rows[row][0]["question"]
        source = Source.open(EXAMPLES[name].png)
        whole = View.whole(source.size).render(source)
        assert whole.tobytes() == rows[row][1].image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"question": " "}, "the question is empty"),
        ({"picture": None}, "drop one, or choose an example"),
        ({"picture": base64.b64encode(b"%!PS").decode(), "name": "a.eps"}, "a.eps is not an image"),
        ({"picture": ""}, "receipt.png is empty"),
        ({"picture": SENT[:3000]}, "receipt.png"),
        ({"picture": None, "example": "../../../etc/passwd"}, "there is no example"),
        ({"tools": ["os.system"]}, "there is no tool 'os.system'"),
    ],
)
def test_what_cannot_be_asked_is_told_in_words(site: str, changed: dict[str, Any], told: str) -> None:
    *_, last = asked(site, **changed)
    assert told in json.dumps(last)
    assert "Traceback" not in json.dumps(last)


def test_a_picture_beyond_the_limits_is_told_in_words(embedded: VisionAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTIC_VISION_MAX_IMAGE_BYTES", "4000")
    monkeypatch.setenv("AGENTIC_VISION_MAX_PIXELS", "20000")
    assert ImageLimits.current().max_image_bytes == 4000
    with serving(create_app(embedded, "m")) as url:
        assert "more than 4,000 bytes" in asked(root(url))[-1]["error"]
        assert "more than 20,000 pixels" in asked(root(url), picture=None, example="cards")[-1]["error"]
        far = httpx.post(f"{root(url)}/ask", json={**QUESTION, "picture": "A" * 3 * 2**20})
        assert far.status_code == 413  # which the page knows to put into words


def test_pages_of_others_are_refused_and_no_file_is_served(site: str) -> None:
    rebound = httpx.post(f"{site}/ask", json=QUESTION, headers={"Host": "evil.example"})
    assert (rebound.status_code, "127.0.0.1" in rebound.json()["error"]) == (403, True)
    assert httpx.get(site, headers={"Host": "evil.example"}).status_code == 403
    simple = httpx.post(f"{site}/ask", content=json.dumps(QUESTION), headers={"Content-Type": "text/plain"})
    assert simple.status_code == 415  # with JSON a browser asks first, and nobody says yes
    assert "access-control-allow-origin" not in httpx.options(f"{site}/ask", headers={"Origin": "http://x"}).headers
    broken = httpx.post(f"{site}/ask", content="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, list(broken.json())) == (400, ["error"])
    for path in ("/examples/..%2fapp.py", "/examples/nothing.png", "/file=/etc/passwd", "/openapi.json", "/docs"):
        assert httpx.get(site + path).status_code == 404
    policy = httpx.get(site).headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy


def test_visitors_do_not_mix(site: str) -> None:
    names = list(EXAMPLES)
    with ThreadPoolExecutor(len(names)) as visitors:
        begun = [
            visitors.submit(asked, site, picture=None, example=name, question=EXAMPLES[name].question) for name in names
        ]
        for name, visitor in zip(names, begun, strict=True):
            updates = visitor.result()
            pages = [update["html"] for update in updates if "html" in update]
            assert all(f"{name}.png" in page for page in pages)
            assert (
                done(updates)["answer"]
                == {
                    "receipt": "25.15",
                    "cards": "bottom left",
                    "chart": "E45",
                    "plan": "C66",
                }[name]
            )


def test_a_visitor_who_leaves_ends_the_question_and_too_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentic_vision.play.app.WAITING", 1)
    policy = Slow()
    with serving(create_app(VisionAgent(policy), "m")) as url:
        with httpx.stream("POST", f"{root(url)}/ask", json=QUESTION) as reply:
            next(reply.iter_lines())
            until(lambda: policy.asked)
        until(lambda: policy.cancelled)
        with ThreadPoolExecutor(8) as visitors:
            begun = [visitors.submit(httpx.post, f"{root(url)}/ask", json=QUESTION, timeout=30) for _ in range(8)]
            until(lambda: policy.asked == 1 + AT_ONCE and sum(visitor.done() for visitor in begun) >= 8 - AT_ONCE - 1)
            refused = [visitor.result() for visitor in begun if visitor.done()]
            assert all("is busy: try again in" in reply.text for reply in refused)
            policy.go.set()
            answered = sum('"answer": "417"' in visitor.result().text for visitor in begun)
        assert answered == 8 - len(refused) == AT_ONCE + 1


def test_whoever_leaves_the_queue_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentic_vision.play.app.AT_ONCE", 1)
    policy = Slow()
    with serving(create_app(VisionAgent(policy), "m")) as url, ThreadPoolExecutor(2) as visitors:
        ahead = visitors.submit(httpx.post, f"{root(url)}/ask", json=QUESTION, timeout=30)
        until(lambda: policy.asked)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{root(url)}/ask", json=QUESTION, timeout=0.5)
        time.sleep(0.5)  # in which the server hears of it
        policy.go.set()
        assert '"answer": "417"' in ahead.result().text
        assert done(asked(root(url)))["answer"] == "417"  # the next one
        assert policy.asked == 2


def test_a_defect_of_a_policy_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with serving(create_app(VisionAgent(Failing(RuntimeError("a defect of theirs"))), "m")) as url:
        assert "the question failed (RuntimeError)" in asked(root(url))[-1]["error"]
    assert "a defect of theirs" in caplog.text


@in_chromium
def test_a_question_that_breaks_off_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def broken(*_: object) -> AsyncGenerator[str, None]:
        yield json.dumps({"lane": "agent", "html": "<p>begun</p>"}) + "\n"

    monkeypatch.setattr("agentic_vision.play.app.updates", broken)
    agent = VisionAgent(ScriptedPolicy(["<answer>1</answer>"]))
    with serving(create_app(agent, "m")) as url, driven(tmp_path / "profile") as page:
        page.open(root(url))
        page.until("document.readyState === 'complete'")
        page.run("document.querySelector('[data-name=receipt]').click(); document.getElementById('ask').click()")
        page.until("!document.getElementById('error').hidden")
        assert "broke off" in page.run("document.getElementById('error').innerText")


@in_chromium
def test_in_a_browser_one_asks_and_sees_and_nothing_leaves_this_machine(site: str, tmp_path: Path) -> None:
    with driven(tmp_path / "profile") as page:
        page.open(site)
        page.until("document.readyState === 'complete'")
        page.run("document.querySelector('[data-name=receipt]').click(); document.getElementById('compare').click()")
        page.run("document.getElementById('ask').click()")
        page.until("document.querySelector('#comparison table')")
        page.until("document.getElementById('stop').hidden")
        shown = page.run("document.getElementById('lanes').innerText")
        assert shown.count("25.15") >= 4
        for said in ("58% saved", "0% saved", "What zoom_crop showed", "Too small to read."):
            assert said in shown
        page.run("document.getElementById('question').value = ''; document.getElementById('ask').click()")
        page.until("!document.getElementById('error').hidden")
        assert "the question is empty" in page.run("document.getElementById('error').innerText")
        assert not page.complaints
        fetched = {url for url in page.requested if not url.startswith(("data:", "blob:"))}
        assert f"{site}/ask" in fetched
        assert all(url.startswith(site) for url in fetched)


@in_chromium
def test_what_a_model_says_runs_nothing(tmp_path: Path) -> None:
    replies = [write(thought=NASTY, calls=[("zoom_crop", {"bbox_2d": [0, 0, 500, NASTY]})]), write(answer=NASTY)]
    agent = VisionAgent(ScriptedPolicy(replies, family="pocket"))
    with serving(create_app(agent, NASTY.replace("\ud800", ""))) as url, driven(tmp_path / "profile") as page:
        page.open(root(url))
        page.until("document.readyState === 'complete'")
        page.run(
            f"chosen = {{ file: new File([Uint8Array.from(atob('{SENT}'), c => c.charCodeAt(0))], "
            f"{json.dumps(NASTY[:-2])}) }}; question.value = {json.dumps(NASTY[:-2])}; form.requestSubmit()"
        )
        page.until("document.querySelector('.answer')")
        page.until("document.getElementById('stop').hidden")
        assert "document.title='OWNED'" in page.run("document.getElementById('lanes').innerText")
        assert page.run("document.title") == "agentic-vision: watch it look"
        assert page.run("document.querySelectorAll('#lanes script, #lanes [onerror], header script').length") == 0
