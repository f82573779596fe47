"""What does OpenTelemetry hear of a question? Spans that nest, what they cost, and nothing of what was said."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from endpoint_agent import NATIVE, TEXT, policy
from endpoints import Scripted, chat, events, failure
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image
from scripted_agent import ANSWER, FULL, Failing, crop
from spans import CAPTURE, QUESTION, Heard, error, listening

from agentic_vision import ImageError, Reply, View, VisionAgent, visual_tool
from agentic_vision.errors import PolicyError
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write

pytest.importorskip("opentelemetry.sdk", reason="needs the extra: pip install 'agentic-vision[dev]'")

from opentelemetry import trace
from opentelemetry.trace import SpanKind


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    with listening(monkeypatch) as heard:
        yield heard


def test_a_question_is_a_span_with_its_requests_and_calls_below(heard: Heard, picture: Image.Image) -> None:
    replies = [
        Reply(text=crop(500, 500, 900, 900), input_tokens=100, output_tokens=9),
        Reply(text=ANSWER, input_tokens=150, cached_tokens=100, image_tokens=80, output_tokens=7),
    ]
    with heard.tracer.start_as_current_span("request") as caller:
        result = VisionAgent(ScriptedPolicy(replies)).ask(picture, QUESTION, seed=1)
    assert heard.below(caller) == ["invoke_agent agentic-vision"]
    (asked,) = heard.named("invoke_agent agentic-vision")
    assert heard.below(asked) == ["chat", "execute_tool zoom_crop", "chat"]
    usage = result.usage
    assert asked.kind is SpanKind.INTERNAL
    assert dict(asked.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "agentic-vision",
        "gen_ai.provider.name": "agentic_vision",
        "gen_ai.usage.input_tokens": 250,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.output_tokens": 16,
        "agentic_vision.visual_tokens": usage.visual_tokens,
        "agentic_vision.full_resolution_tokens": usage.full_resolution_tokens,
        "agentic_vision.turns": 2,
        "agentic_vision.calls": 1,
        "agentic_vision.stop_reason": "answered",
    }
    (call,) = heard.named("execute_tool zoom_crop")
    shown = result.trajectory.observations[1]
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "zoom_crop",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1",
        "agentic_vision.visual_tokens": shown.visual_tokens,
        "agentic_vision.view.source": 0,
        "agentic_vision.view.box": (600.0, 450.0, 1080.0, 810.0),
        "agentic_vision.view.size": shown.view.size,
    }
    first, second = heard.named("chat")
    assert first.attributes["agentic_vision.visual_tokens"] == result.trajectory.observations[0].visual_tokens
    assert second.attributes["agentic_vision.visual_tokens"] == usage.visual_tokens
    assert second.attributes["gen_ai.usage.image.input_tokens"] == 80
    assert first.attributes["gen_ai.request.seed"] != second.attributes["gen_ai.request.seed"]
    assert [error(span) for span in (asked, call, first, second)] == [None] * 4
    assert first.end_time <= call.start_time <= call.end_time <= second.start_time


@pytest.mark.parametrize("streamed", [False, True])
def test_an_endpoint_is_named_with_its_model_and_what_it_reports(
    heard: Heard, picture: Image.Image, streamed: bool
) -> None:
    whole = chat(ANSWER)
    piece = {"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}
    pieces = events({**whole, "object": "chat.completion.chunk", "choices": [piece]})
    endpoint = Scripted([pieces if streamed else whole])
    with endpoint.serving() as url:
        agent = VisionAgent(policy(url, TEXT))
        list(agent.stream(picture, QUESTION, text=True)) if streamed else agent.ask(picture, QUESTION)
    (said,) = heard.named("chat m")
    assert said.kind is SpanKind.CLIENT
    told = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "server.address": "127.0.0.1"}
    assert {name: said.attributes[name] for name in told} == told
    assert f":{said.attributes['server.port']}/" in url
    assert said.attributes["gen_ai.usage.output_tokens"] == 7
    assert heard.below(heard.named("invoke_agent agentic-vision")[0]) == ["chat m"]


def _traced_tools(heard: Heard) -> list[Any]:
    @visual_tool
    def in_a_thread(view: View, part: int) -> str:
        """Look."""
        with heard.tracer.start_as_current_span(f"thread {part} of {view.source_size[0]}"):
            return f"part {part}"

    @visual_tool
    async def awaited(view: View, part: int) -> str:
        """Look."""
        with heard.tracer.start_as_current_span(f"awaited {part} of {view.source_size[0]}"):
            await asyncio.sleep(0.005)
            return f"part {part}"

    return [in_a_thread, awaited]


def _traced_agent(heard: Heard) -> VisionAgent:
    calls = [(name, {"part": part}) for name in ("in_a_thread", "awaited") for part in (1, 2)]

    def speak(conversation: Any) -> str:
        with heard.tracer.start_as_current_span(f"http of {conversation.images[0].source.size[0]}"):
            return write(calls=calls) if len(conversation.messages) < 4 else ANSWER

    return VisionAgent(ScriptedPolicy(speak), tools=_traced_tools(heard))


def _nested(heard: Heard, width: int) -> None:
    """All that was done for the picture of this width hangs together, below the caller that had it."""
    (caller,) = heard.named(f"caller {width}")
    (asked,) = [span for span in heard.spans if span.parent and span.parent.span_id == caller.context.span_id]
    assert asked.name == "invoke_agent agentic-vision"
    children = [span for span in heard.spans if span.parent and span.parent.span_id == asked.context.span_id]
    below = sorted((span.name, *heard.below(span)) for span in children)
    assert below == sorted(
        [
            ("chat", f"http of {width}"),
            ("chat", f"http of {width}"),
            *(("execute_tool in_a_thread", f"thread {part} of {width}") for part in (1, 2)),
            *(("execute_tool awaited", f"awaited {part} of {width}") for part in (1, 2)),
        ]
    )
    assert {span.context.trace_id for span in children} == {caller.context.trace_id}


def test_spans_nest_among_many_questions_at_once(heard: Heard) -> None:
    agent = _traced_agent(heard)
    widths = range(100, 112)

    async def ask(width: int) -> None:
        with heard.tracer.start_as_current_span(f"caller {width}") as caller:
            image = Image.new("RGB", (width, 90))
            if width % 2:
                await agent.aask(image, QUESTION)
            else:
                async for _ in agent.astream(image, QUESTION):
                    assert trace.get_current_span() is caller  # ours does not leak into whoever listens

    async def ask_all() -> None:
        await asyncio.gather(*map(ask, widths))

    asyncio.run(ask_all())
    for width in widths:
        _nested(heard, width)


def test_spans_nest_among_threads_that_ask(heard: Heard) -> None:
    agent = _traced_agent(heard)
    widths = range(100, 108)

    def ask(width: int) -> None:
        with heard.tracer.start_as_current_span(f"caller {width}") as caller:
            image = Image.new("RGB", (width, 90))
            if width % 2:
                agent.ask(image, QUESTION)
            else:
                assert all(trace.get_current_span() is caller for _ in agent.stream(image, QUESTION))

    with ThreadPoolExecutor(len(widths)) as threads:
        list(threads.map(ask, widths))
    for width in widths:
        _nested(heard, width)


def test_the_graph_itself_has_spans_below_the_caller(heard: Heard, tmp_path: Any, picture: Image.Image) -> None:
    picture.save(tmp_path / "picture.png")
    agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]))
    with heard.tracer.start_as_current_span("caller") as caller:
        asyncio.run(agent.graph.ainvoke({"question": QUESTION, "images": [str(tmp_path / "picture.png")]}))
    assert heard.below(caller) == ["chat", "execute_tool full_res", "chat"]


def test_nothing_of_what_is_said_is_recorded(heard: Heard, picture: Image.Image, tmp_path: Any) -> None:
    @visual_tool
    def read(view: View, words: str) -> str:  # noqa: ARG001
        """Read."""
        return "the read 2718"

    replies = [write(thought="thought 31415", calls=[("read", {"words": "words 1618"}), ("salary_5931", {})])]
    VisionAgent(ScriptedPolicy([*replies, ANSWER]), tools=[read]).ask(picture, QUESTION)
    VisionAgent(Failing(PolicyError(f"refused: {QUESTION}"))).ask(picture, QUESTION)
    with pytest.raises(ImageError):
        VisionAgent(ScriptedPolicy([ANSWER])).ask(tmp_path / "5931.png", QUESTION)
    with Scripted([failure(400, f"bad: {QUESTION}")]).serving() as url:
        VisionAgent(policy(url, NATIVE)).ask(picture, QUESTION)
    secrets = ("5931", "417", "31415", "1618", "2718", "base64")
    assert len(heard.spans) == 10
    # Whole words: a port may spell a part of one.
    assert [secret for secret in secrets if re.search(rf"\b{secret}\b", heard.said())] == []


@pytest.mark.parametrize(("setting", "captures"), [("true", True), ("SPAN_ONLY", True), ("event_only", False)])
def test_what_is_said_is_recorded_where_it_is_asked_for(
    heard: Heard, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, setting: str, captures: bool
) -> None:
    monkeypatch.setenv(CAPTURE, setting)
    VisionAgent(ScriptedPolicy([crop(0, 0, 500, 500), ANSWER])).ask(picture, QUESTION)
    VisionAgent(Failing(PolicyError("the model is gone"))).ask(picture, QUESTION)
    assert ("5931" in heard.said()) == captures
    if not captures:
        return
    asked, failed = heard.named("invoke_agent agentic-vision")

    def messages(span: Any, way: str) -> Any:
        return json.loads(span.attributes[f"gen_ai.{way}.messages"])

    assert messages(asked, "input") == [{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}]
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "417"}], "finish_reason": "stop"}
    assert messages(asked, "output") == [answer]
    last = heard.named("chat")[1]
    assert [message["role"] for message in messages(last, "input")] == ["system", "user", "assistant", "tool"]
    assert messages(last, "output")[0]["parts"][0]["content"] == ANSWER
    arguments = heard.named("execute_tool zoom_crop")[0].attributes["gen_ai.tool.call.arguments"]
    assert json.loads(arguments) == {"bbox_2d": [0, 0, 500, 500]}
    assert failed.status.description == "the model is gone"


def test_a_thread_has_a_span_for_each_of_its_questions(heard: Heard, picture: Image.Image) -> None:
    agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=InMemorySaver())
    first = agent.ask(picture, QUESTION, thread_id="t")
    both = agent.ask(picture, "And now?", thread_id="t")
    agent.resume("t", picture)
    spans = heard.named("invoke_agent agentic-vision")
    assert {span.attributes["gen_ai.conversation.id"] for span in spans} == {"t"}
    tokens = [span.attributes.get("agentic_vision.visual_tokens") for span in spans]
    assert tokens == [first.usage.visual_tokens, both.usage.visual_tokens - first.usage.visual_tokens, None]
    assert [span.attributes["agentic_vision.turns"] for span in spans[:2]] == [2, 1]


ASK = """
from PIL import Image
from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
call = '<tool_call>{"name": "full_res", "arguments": {}}</tool_call>'
agent = VisionAgent(ScriptedPolicy([call, "<answer>7</answer>"]))
"""
PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
ANSWERED = "assert agent.ask(Image.new('RGB', (99, 99)), 'Q?').answer == '7'\n"
SCOPE = "assert {span.instrumentation_scope.name for span in exporter.get_finished_spans()} == {'agentic_vision'}"


@pytest.mark.parametrize(
    "program",
    [
        f"import sys; sys.modules['opentelemetry'] = None\n{ASK}{ANSWERED}",
        f"{ASK}{ANSWERED}",
        f"{ASK}{PROVIDER}{ANSWERED}{SCOPE}",
    ],
    ids=["not installed", "no provider", "a provider that is set later"],
)
def test_the_application_decides_whether_there_are_spans(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
