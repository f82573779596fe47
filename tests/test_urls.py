"""Images by URL in all places that take images: the agent and its threads, rows, the server, MCP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time

import httpx
import openai
import pytest
from endpoints import serving
from PIL import Image
from scripted_agent import ANSWER, FULL, Failing
from server_client import ask, client, messages, until
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from urls import Resolver, Site, png, talking

from agentic_vision import ConfigError, ImageError, PolicyError, Source, VisionAgent
from agentic_vision.batch.run import run_batch
from agentic_vision.loading import load_rows
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server import ServerSettings, create_app, incoming
from agentic_vision.server.wire import ChatRequest
from agentic_vision.url_rules import ALLOW, UrlRules


@pytest.fixture(scope="module")
def served():
    site = Site()
    with site.serving() as url:
        yield site, url


@pytest.fixture
def site(served):
    served[0].begin()
    return served[0]


@pytest.fixture
def at(served, monkeypatch):
    """The address of the site, which may be fetched from."""
    monkeypatch.setenv(ALLOW, "127.0.0.1")
    return served[1]


def agent(*replies, **options):
    return VisionAgent(ScriptedPolicy(list(replies) or [ANSWER]), **options)


# The agent


def test_a_question_about_a_url_fetches_it_once(site, at, tmp_path):
    result = agent(FULL, ANSWER).ask([f"{at}/red.png", png("blue")], "Which number?")
    (record, _) = result.trajectory.sources
    assert (record.label, record.size, record.digest) == (f"{at}/red.png", (320, 200), Source.open(png()).digest)
    result.save_trace(tmp_path / "trace.html")
    assert site.paths == ["/red.png"]
    assert Source.open(f"{at}/red.png").digest == record.digest


def test_what_is_at_a_url_may_be_no_image(site, at):
    site.replies["/a.png"] = lambda _: Response(b"<svg/>", media_type="image/svg+xml")
    site.replies["/b.png"] = lambda _: Response(b"", media_type="image/png")
    with pytest.raises(ImageError, match=r"a\.png is not an image that can be read"):
        agent().ask(f"{at}/a.png", "Which number?")
    with pytest.raises(ImageError, match=r"b\.png is empty"):
        agent().ask(f"{at}/b.png", "Which number?")


def test_without_leave_this_machine_is_not_fetched_from(site, at, monkeypatch):
    monkeypatch.delenv(ALLOW)
    with pytest.raises(ImageError, match=f"no public address.*{ALLOW}=127.0.0.1"):
        agent().ask(f"{at}/red.png", "Which number?")
    (done,) = agent().batch([(f"{at}/red.png", "Which number?")])
    assert "no public address" in done.trajectory.detail
    assert site.paths == []


def test_others_go_on_while_a_url_is_fetched(site, at):
    def slow(_):
        time.sleep(0.3)
        return Response(png(), media_type="image/png")

    site.replies["/slow.png"] = slow

    async def both():
        fetching = asyncio.create_task(agent().aask(f"{at}/slow.png", "Which number?"))
        beats = 0
        while not fetching.done():
            await asyncio.sleep(0.01)
            beats += 1
        return (await fetching).answer, beats

    answer, beats = asyncio.run(both())
    assert answer == "417"
    assert beats > 10


def test_who_starts_the_graph_may_give_urls(at):
    asked = {"question": "Which number?", "images": [f"{at}/red.png"]}
    assert asyncio.run(agent().graph.ainvoke(asked))["answer"] == "417"


# Threads


@pytest.fixture
def saver():
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def broken_off(saver, url, **options):
    """A thread whose policy failed."""
    failing = VisionAgent(Failing(PolicyError("down")), checkpointer=saver, **options)
    assert failing.ask(url, "Which number?", thread_id="one").answer is None


def test_a_thread_goes_on_with_the_bytes_that_were_kept(site, at, saver, tmp_path):
    broken_off(saver, f"{at}/red.png", image_folder=tmp_path)
    site.replies.clear()
    done = agent(checkpointer=saver, image_folder=tmp_path).resume("one")
    assert (done.answer, done.trajectory.sources[0].label) == ("417", f"{at}/red.png")
    assert site.paths == ["/red.png"]


def test_without_a_folder_a_url_is_fetched_again(site, at, saver):
    broken_off(saver, f"{at}/red.png")
    assert agent(checkpointer=saver).resume("one").answer == "417"
    assert site.paths == ["/red.png"] * 2


def test_a_url_that_leads_to_another_image_is_told(site, at, saver):
    broken_off(saver, f"{at}/red.png")
    site.replies["/red.png"] = lambda _: Response(png("blue"), media_type="image/png")
    with pytest.raises(ConfigError, match="these are not the images asked about"):
        agent(checkpointer=saver).resume("one")
    site.replies.clear()
    with pytest.raises(ConfigError, match=r"answers 404; to go on, pass the question's images to resume"):
        agent(checkpointer=saver).resume("one")
    assert agent(checkpointer=saver).resume("one", png()).answer == "417"


# Rows


def rows(path, *images):
    made = [{"id": str(n), "images": [image], "question": "?", "answer": "x"} for n, image in enumerate(images)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_a_batch_fetches_the_urls_of_its_rows(site, at, tmp_path):
    given = rows(tmp_path / "rows.jsonl", f"{at}/red.png", f"{at}/absent.png", "http://10.0.0.1/a.png")
    run_batch(given, tmp_path / "out.jsonl", agent(), concurrency=1)
    done = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines() if '"id"' in line]
    assert [row["stop_reason"] for row in done] == ["answered", "bad_row", "bad_row"]
    assert site.paths == ["/red.png", "/absent.png"]


def test_the_urls_of_a_data_set_are_fetched_once_and_kept_with_it(site, at, tmp_path):
    given = rows(tmp_path / "rows.jsonl", f"{at}/red.png", f"{at}/red.png", f"{at}/absent.png", "http://10.0.0.1/a.png")
    for _ in range(2):
        faults = []
        first, second = load_rows(given, tmp_path / "images", faults=faults)
        assert first.images == second.images
        assert Image.open(first.images[0]).size == (320, 200)
        assert [fault.id for fault in faults] == ["2", "3"]
        assert "no public address" in faults[1].reason
    assert site.paths == ["/red.png", "/absent.png", "/absent.png"]


# The server


def url_server(policy=None, rules=None, **settings):
    given = ServerSettings(urls=rules or UrlRules(allow=("127.0.0.1",)), **settings)
    return serving(create_app(VisionAgent(policy or ScriptedPolicy([ANSWER])), given))


def test_the_server_fetches_where_it_was_told_to(site, at):
    with url_server() as url:
        said = messages(images=[f"{at}/red.png", f"{at}/red.png"])
        done = ask(url, said=said, extra_body={"agentic_vision": {"trajectory": True}})
        assert done.choices[0].message.content == "417"
        digests = [source["digest"] for source in done.model_extra["agentic_vision"]["trajectory"]["sources"]]
        assert digests == [Source.open(png()).digest] * 2
        pieces = [choice.delta.content or "" for chunk in ask(url, said=said, stream=True) for choice in chunk.choices]
        assert "".join(pieces) == "417"
    assert site.paths == ["/red.png"] * 2  # once a request


def test_the_bare_policy_sees_urls_too(site, at):
    with url_server(raw=True) as url:
        for stream in (False, True):
            assert "417" in str(list(ask(url, said=messages(images=[f"{at}/red.png"]), stream=stream)))
    assert site.paths == ["/red.png"] * 2


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_server_does_not_fetch(site, at, raw, stream):
    large = [f"{at}/large{number}.png" for number in range(3)]
    for image in large:
        noisy = png() + os.urandom(30_000)
        site.replies[image.removeprefix(at)] = lambda _, data=noisy: Response(data, media_type="image/png")
    with url_server(raw=raw, max_bytes=70_000, rules=UrlRules(("127.0.0.1",), max_bytes=40_000)) as url:
        for images, told in [
            (["http://127.0.0.2/a.png"], "no public address"),
            (["http://[::1]/a.png"], "no public address"),
            (["file:///etc/passwd"], "is no data: URI"),
            (["/etc/passwd"], "is no data: URI"),
            ([f"{at}/absent.png"], "its server answers 404"),
            (large, "more than 70,000 bytes together"),
        ]:
            with pytest.raises(openai.BadRequestError, match=re.escape(told)) as raised:
                client(url).chat.completions.create(model="m", messages=messages(images=images), stream=stream)
            assert raised.value.code == "invalid_image"
            assert "--allow-urls" not in str(raised.value)
    with serving(create_app(agent(), ServerSettings(raw=raw))) as url:
        site.heard.clear()
        with pytest.raises(openai.BadRequestError, match="or have the server started with --allow-urls"):
            client(url).chat.completions.create(model="m", messages=messages(images=[f"{at}/red.png"]), stream=stream)
    assert site.paths == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_url_keeps_nobody_waiting_and_is_left_with_its_client(stream):
    leave = threading.Event()

    def hang(connection):
        while not leave.is_set():
            connection.settimeout(0.05)
            try:
                if connection.recv(1) == b"":
                    raise BrokenPipeError
            except TimeoutError:
                pass

    with talking(hang) as slow, url_server(in_flight=2, deadline=20) as url:
        image = slow.url.replace("images.test", "127.0.0.1")
        impatient = openai.OpenAI(base_url=url, api_key="k", max_retries=0, timeout=0.5)
        with pytest.raises(openai.APITimeoutError):
            impatient.chat.completions.create(model="m", messages=messages(images=[image]), stream=stream)
        assert slow.connections == 1
        assert ask(url).choices[0].message.content == "417"
        until(lambda: slow.left == 1)
        until(lambda: httpx.get(url.replace("/v1", "/healthz")).json()["running"] == 0)
        leave.set()


def test_urls_have_the_deadline_of_the_request():
    resolve = Resolver(["127.0.0.1"])
    with (
        talking(lambda connection: connection.recv(1)) as slow,
        url_server(rules=UrlRules(("images.test",), resolve=resolve), deadline=0.3) as url,
        pytest.raises(openai.APIStatusError, match=r"no answer within 0\.3 s"),
    ):
        ask(url, said=messages(images=[slow.url]))


# MCP


def test_mcp_fetches_where_it_was_told_to(site, at, tmp_path):
    pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")
    from mcp import Client, StdioServerParameters, stdio_client
    from mcp_caller import COMMAND, ROOT, calling

    (tmp_path / "blue.png").write_bytes(png("blue"))
    command = [*COMMAND[1:], "--root", str(tmp_path), "--allow-urls"]
    environment = {"PYTHONPATH": str(ROOT), ALLOW: "127.0.0.1"}
    server = StdioServerParameters(command=COMMAND[0], args=command, env=environment)
    site.redirect("/there", "http://127.0.0.2/a.png")
    with calling(Client(stdio_client(server))) as call:
        tools = {tool.name: tool for tool in call.portal.call(call.client.list_tools).tools}
        assert "or a data: or http(s) URL" in tools["glance"].input_schema["properties"]["image"]["description"]
        assert tools["glance"].annotations.open_world_hint
        _, view, line = call.shown("glance", image=f"{at}/red.png")
        assert f"{at}/red.png, 320 x 200 pixels" in line
        call.shown("zoom_crop", image=view, bbox_2d=[0, 0, 500, 500])
        assert site.paths == ["/red.png"]
        assert "blue.png, 320 x 200" in call.shown("glance", image="blue.png")[2]
        for image in ("http://127.0.0.2/a.png", f"{at}/there", "http://[::1]/a.png"):
            assert "no public address" in call.wrong("glance", image=image)
            assert "no public address" in call.wrong("ask", images=["blue.png", image], question="What?")
        assert "outside of what this server may read" in call.wrong("glance", image="file:///etc/passwd")
        result = call("ask", images=[f"{at}/red.png"], question="What is the total?")
        assert result.structured_content["stop_reason"]
    assert site.paths[-1] == "/red.png"


def test_some_images_of_a_request_are_fetched_at_a_time_each_once_and_named_by_its_url():
    now, most = 0, 0

    async def slow(_):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1
        return Response(png(), media_type="image/png")

    with serving(Starlette(routes=[Route("/v1/{name}", slow)])) as at:
        urls = [f"{at}/{number}.png" for number in range(6)]
        images = [{"type": "image_url", "image_url": {"url": url}} for url in [*urls, *urls]]
        request = ChatRequest.model_validate({"messages": [{"role": "user", "content": images}]})
        local = UrlRules(allow=("127.0.0.1",))
        held = asyncio.run(incoming.fetched(request, local, 10**6))
        assert most == incoming.AT_ONCE
        assert [source.label for source in incoming.sources(request, held)] == [*urls, *urls]
        with pytest.raises(ImageError, match="more than 100 bytes together"):
            asyncio.run(incoming.fetched(request, local, 100))
