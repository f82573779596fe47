"""LangChain's chat models as policies, its tools as visual tools and back, the agent as node and as tool.

The chat model is the real `ChatOpenAI`, against our own server and a scripted endpoint over HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import json
from itertools import pairwise
from typing import ClassVar, TypedDict

import pytest
from endpoint_agent import NATIVE, RECEIPT, TEXT, conversation
from endpoints import Scripted, chat, failure, serving
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool, ToolException, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from PIL import Image
from scripted_agent import ANSWER, FAMILY, crop

from agentic_vision import ConfigError, ImageError, PolicyError, VisionAgent
from agentic_vision.endpoint import on_overload
from agentic_vision.langchain import agent_node, agent_tool, langchain_tools, visual_tool_of
from agentic_vision.messages import FailureKind, StopReason, Trajectory
from agentic_vision.policies.langchain import LangChainPolicy
from agentic_vision.policies.langchain_messages import images_of
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.result import TextEvent
from agentic_vision.server.app import Settings, create_app
from agentic_vision.source import Source

pytest.importorskip("langchain_openai", reason="needs the extra: pip install 'agentic-vision[dev]'")
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

BLOCK = {"type": "image", "base64": base64.b64encode(RECEIPT.read_bytes()).decode(), "mime_type": "image/png"}


def model(url):
    return ChatOpenAI(model="m", base_url=url, api_key="k", max_retries=0)


# A chat model as the policy


@pytest.mark.parametrize("calls", ["text", "native"])
def test_a_chat_model_in_front_of_the_embedded_weights_answers_as_they_do(embedded, calls):
    profile = {"family": "pocket", "calls": calls, "style": "compact", "tool_images": "tool"}
    with serving(create_app(embedded, Settings(raw=True))) as url:
        policy = LangChainPolicy(model(url), profile=profile, image_quality=None)
        there = VisionAgent(policy).ask(RECEIPT, "What is the total?")
        heard = list(VisionAgent(policy).stream(RECEIPT, "What is the total?", text=True))
    here = embedded.ask(RECEIPT, "What is the total?")
    assert there.answer == here.answer == "25.15"
    assert there.trajectory.calls == here.trajectory.calls
    assert there.usage.visual_tokens == here.usage.visual_tokens
    assert there.usage.input_tokens > 100
    assert heard[-1].result.trajectory.calls == here.trajectory.calls
    assert any(isinstance(event, TextEvent) for event in heard)


@pytest.mark.parametrize("profile", [TEXT, NATIVE])
def test_no_image_is_lost_and_messages_only_ever_grow(picture, profile):
    native = profile["calls"] == "native"
    box = {"bbox_2d": [0, 0, 500, 500]}
    script = (
        [chat(calls=[("zoom_crop", json.dumps(box)), ("full_res", "{}")]), chat("417")]
        if native
        else [chat(write(calls=[("zoom_crop", box), ("full_res", {})])), chat(ANSWER)]
    )
    endpoint = Scripted(script)
    with endpoint.serving() as url:
        result = VisionAgent(LangChainPolicy(model(url), profile=profile)).ask(picture, "Which number?")
    assert result.answer == "417"
    for before, after in pairwise(endpoint.requests):
        assert json.dumps(after["messages"]).startswith(json.dumps(before["messages"])[:-1])
    said = endpoint.requests[-1]["messages"]
    images = [part for message in said for part in message["content"] or () if "image_url" in part]
    assert len(images) == 3


def test_at_a_limit_a_chat_model_is_made_to_answer(picture):
    def reply(request):
        return chat("417") if request.get("tool_choice") == "none" else chat(calls=[("full_res", "{}")])

    with Scripted([reply]).serving() as url:
        result = VisionAgent(LangChainPolicy(model(url), profile=NATIVE), max_turns=1).ask(picture, "Which number?")
    assert (result.answer, result.stop_reason) == ("417", StopReason.TURN_LIMIT)


class Choosy(ChatOpenAI):
    """Writes the choice of a tool as its provider does: `written`, for "auto"; another word is a tool's name."""

    written: ClassVar[object]

    def bind_tools(self, tools, *, tool_choice=None, **options):
        if tool_choice and self.written is None:
            raise ValueError("no choices")
        if isinstance(tool_choice, str):
            tool_choice = self.written if tool_choice == "auto" else {"type": "tool", "name": tool_choice}
        given = {"tool_choice": tool_choice} if tool_choice else {}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **given, **options)


@pytest.mark.parametrize(
    ("auto", "none"), [({"type": "auto"}, {"type": "none"}), ({"auto": {}}, "no choice"), (None, "no choice")]
)
def test_where_none_is_written_otherwise_no_tool_of_that_name_is_forced(picture, auto, none):
    class Model(Choosy):
        written = auto

    endpoint = Scripted([chat(calls=[("full_res", "{}")]), chat("417")])
    with endpoint.serving() as url:
        chosen = Model(model="m", base_url=url, api_key="k", max_retries=0)
        result = VisionAgent(LangChainPolicy(chosen, profile=NATIVE), max_turns=1).ask(picture, "Which number?")
    assert result.answer == "417"
    assert endpoint.requests[1].get("tool_choice", "no choice") == none
    assert endpoint.requests[1]["tools"] == endpoint.requests[0]["tools"]


def test_an_overloaded_chat_model_is_heard_and_a_reply_without_sense_is_typed(picture):
    overloads = []
    with Scripted([failure(429, "slow down")]).serving() as url, on_overload(lambda: overloads.append(1)):
        policy = LangChainPolicy(model(url), profile=TEXT)
        with pytest.raises(PolicyError, match="overloaded"):
            asyncio.run(policy.reply(conversation(picture)))
    assert overloads == [1]

    class Silent(ChatOpenAI):
        async def ainvoke(self, *args, **options):  # noqa: ARG002
            return None

    result = VisionAgent(LangChainPolicy(Silent(model="m", api_key="k"), profile=TEXT)).ask(picture, "Which number?")
    assert result.stop_reason is StopReason.POLICY_FAILED


@pytest.mark.parametrize(
    ("answer", "stop"),
    [
        (failure(401, "Incorrect API key"), StopReason.MISCONFIGURED),
        (failure(500, "oh dear"), StopReason.POLICY_FAILED),
        (failure(400, "maximum context length", "context_length_exceeded"), StopReason.CONTEXT_FULL),
        (chat("", finish="content_filter"), StopReason.REFUSED),
    ],
)
def test_a_chat_model_that_fails_is_typed(picture, answer, stop):
    with Scripted([answer]).serving() as url:
        result = VisionAgent(LangChainPolicy(model(url), profile=TEXT)).ask(picture, "Which number?")
    assert (result.answer, result.stop_reason) == (None, stop)


# LangChain's tools as ours


@tool
def measure(image: str, unit: str = "px") -> str:
    """Measure the image.

    Args:
        image: The image.
        unit: The unit.
    """
    source = Source.open(image)
    return f"{source.size[0]} x {source.size[1]} {unit}"


def test_a_langchain_tool_sees_the_view_and_tells_the_model_what_it_found(picture):
    ours = visual_tool_of(measure)
    assert list(ours.schema["properties"]) == ["unit"]
    replies = [crop(0, 0, 500, 500), write(calls=[("measure", {"unit": "pixels"})]), ANSWER]
    result = VisionAgent(ScriptedPolicy(replies), tools=["zoom_crop", ours]).ask(picture, "How large?")
    *_, cropped, measured = result.trajectory.observations
    assert measured.text == "{} x {} pixels".format(*cropped.view.size)


def test_a_langchain_tool_with_a_json_schema_is_a_visual_tool_and_its_failure_an_observation(picture):
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}

    def look_up(word):
        raise ToolException(f"no such word {word}")

    ours = visual_tool_of(StructuredTool(name="look_up", description="Look up.", args_schema=schema, func=look_up))
    replies = [write(calls=[("look_up", {"word": "x"})]), write(calls=[("look_up", {})]), ANSWER]
    result = VisionAgent(ScriptedPolicy(replies), tools=[ours]).ask(picture, "What?")
    first, second = result.trajectory.observations[1:]
    assert first.failure.kind is FailureKind.TOOL_RAISED
    assert "no such word x" in first.failure.message
    assert second.failure.kind is FailureKind.BAD_ARGUMENTS


# Our tools as LangChain's


def test_another_agent_glances_zooms_and_zooms_into_that(picture):
    tools = {tool.name: tool for tool in langchain_tools([picture])}
    assert list(tools) == ["glance", "zoom_crop", "full_res", "resize"]
    glance = FAMILY.glance(picture.size).size
    text, image = tools["glance"].invoke({})
    assert text["text"].startswith(f"Image 1, from glance, {glance[0]} x {glance[1]} pixels")
    assert images_of([HumanMessage(content=[image])])[0].size == glance
    for number, size in ((2, (600, 450)), (3, (300, 225))):  # each is cut from the latest, so from the one before
        text, image = tools["zoom_crop"].invoke({"bbox_2d": [0, 0, 500, 500]})
        assert text["text"].startswith(f"Image {number}")
        (shown,) = images_of([HumanMessage(content=[image])])
        assert shown.size == FAMILY.full(size)
    assert "there is no image 9" in tools["full_res"].invoke({"image": 9})


def test_an_agent_of_langchains_looks_by_itself():
    said = [
        chat(calls=[("glance", "{}")]),
        chat(calls=[("zoom_crop", '{"bbox_2d": [500, 500, 1000, 1000]}')]),
        chat("ok"),
    ]
    endpoint = Scripted(said)
    with endpoint.serving() as url:
        other = create_agent(model(url), tools=langchain_tools([RECEIPT]))
        done = other.invoke({"messages": [HumanMessage("What is the total?")]})
    shown = [message for message in done["messages"] if isinstance(message, ToolMessage)]
    assert [len(images_of([message])) for message in shown] == [1, 1]
    assert done["messages"][-1].text == "ok"


# The agent in other people's graphs


def test_the_agent_is_a_node(embedded):
    graph = StateGraph(MessagesState)
    graph.add_node("look", agent_node(embedded))
    graph.add_edge(START, "look")
    graph.add_edge("look", END)
    asked = HumanMessage(content=[BLOCK, {"type": "text", "text": "What is the total?"}])
    done = asyncio.run(graph.compile().ainvoke({"messages": [asked]}))
    answer = done["messages"][-1]
    assert answer.text == "25.15"
    assert Trajectory.model_validate(answer.response_metadata["trajectory"]).usage.visual_tokens == 50
    assert answer.usage_metadata["output_tokens"] > 0


def test_the_agents_graph_is_a_subgraph(embedded):
    class Outer(TypedDict, total=False):
        question: str
        images: list[str]
        answer: str

    graph = StateGraph(Outer)
    graph.add_node("look", embedded.graph)
    graph.add_edge(START, "look")
    done = asyncio.run(graph.compile().ainvoke({"question": "What is the total?", "images": [str(RECEIPT)]}))
    assert done["answer"] == "25.15"


@pytest.mark.parametrize("bound", [True, False])
def test_another_agent_asks_ours(embedded, bound):
    asks = chat(calls=[("look_at_image", json.dumps({"question": "What is the total?"}))])
    wrong = chat(calls=[("look_at_image", json.dumps({"question": "What?", "image": 3}))])
    endpoint = Scripted([asks, wrong, chat("It is 25.15.")])
    with endpoint.serving() as url:
        other = create_agent(model(url), tools=[agent_tool(embedded, [RECEIPT] if bound else None)])
        content = "What is the total?" if bound else [BLOCK, {"type": "text", "text": "What is the total?"}]
        done = other.invoke({"messages": [HumanMessage(content=content)]})
    results = [message.text for message in done["messages"] if isinstance(message, ToolMessage)]
    assert results[0] == "25.15"
    assert "there are images 1 to 1" in results[1]
    schema = endpoint.requests[0]["tools"][0]["function"]["parameters"]["properties"]
    assert set(schema) == {"question", "image"}


def test_what_cannot_be_looked_at_says_so(embedded):
    node = agent_node(embedded)
    with pytest.raises(ConfigError, match="no human message"):
        asyncio.run(node({"messages": []}))
    with pytest.raises(ImageError, match="no image"):
        asyncio.run(node({"messages": [HumanMessage("What?")]}))
    url = {"type": "image", "url": "https://example.com/a.png"}
    with pytest.raises(ImageError, match="give its bytes"):
        asyncio.run(node({"messages": [HumanMessage(content=[url])]}))
    assert "no image" in agent_tool(embedded, []).invoke({"question": "What?"})
    with pytest.raises(ConfigError, match="no image"):
        langchain_tools([])


def test_images_survive_both_ways():
    image = Image.open(RECEIPT).convert("RGB")
    openai_way = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BLOCK['base64']}"}}
    found = images_of([HumanMessage(content=[BLOCK, openai_way, {"type": "text", "text": "x"}])])
    assert [source.size for source in found] == [image.size] * 2
