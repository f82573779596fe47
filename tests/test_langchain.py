"""LangChain's tools as visual tools and back, the agent as node and as tool: with the real `ChatOpenAI`, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TypedDict

import pytest
from endpoint_agent import RECEIPT
from endpoints import Scripted, chat
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from PIL import Image
from scripted_agent import ANSWER, FAMILY, crop

from agentic_vision import ConfigError, ImageError, VisionAgent
from agentic_vision.langchain import agent_node, agent_tool, langchain_tools, visual_tool_of
from agentic_vision.messages import FailureKind, Trajectory
from agentic_vision.policies.langchain_messages import images_of
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.source import Source

pytest.importorskip("langchain_openai", reason="needs the extra: pip install 'agentic-vision[dev]'")
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

BLOCK = {"type": "image", "base64": base64.b64encode(RECEIPT.read_bytes()).decode(), "mime_type": "image/png"}


def model(url):
    return ChatOpenAI(model="m", base_url=url, api_key="k", max_retries=0)


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


def test_arguments_of_a_langchain_tool_may_have_any_name(picture):
    schema = {"type": "object", "properties": {"context": {"type": "string"}, "view": {"type": "string"}}}
    echo = StructuredTool(name="echo", description="Say it again.", args_schema=schema, func=lambda **said: str(said))
    given = {"context": "a", "view": "b"}
    script = ScriptedPolicy([write(calls=[("echo", given)]), ANSWER])
    result = VisionAgent(script, tools=[visual_tool_of(echo)]).ask(picture, "What?")
    assert result.trajectory.observations[-1].text == str(given)


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


def test_questions_side_by_side_in_one_node_are_each_about_their_own_image(tmp_path):
    labels = [str(tmp_path / f"{n}.png") for n in range(4)]
    for n, label in enumerate(labels):
        Image.new("RGB", (300 + 100 * n, 300)).save(label)

    class Labels(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            await asyncio.sleep(0.05)  # the others have begun meanwhile
            return await super().reply(conversation, seed=seed)

    inner = VisionAgent(Labels(lambda said: write(answer=said.messages[-1].images[0].source.label)), tools=[]).graph

    class Outer(TypedDict, total=False):
        answers: list[str]

    async def node(state):  # noqa: ARG001
        asked = (inner.ainvoke({"question": "Which?", "images": [label]}) for label in labels)
        return {"answers": [done["answer"] for done in await asyncio.gather(*asked)]}

    graph = StateGraph(Outer)
    graph.add_node("look", node)
    graph.add_edge(START, "look")
    app = graph.compile(checkpointer=InMemorySaver())
    assert asyncio.run(app.ainvoke({}, {"configurable": {"thread_id": 1}}))["answers"] == labels


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
    assert "the question is empty" in agent_tool(embedded, [RECEIPT]).invoke({"question": " "})
    with pytest.raises(ConfigError, match="no image"):
        langchain_tools([])


def test_images_survive_both_ways():
    image = Image.open(RECEIPT).convert("RGB")
    openai_way = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BLOCK['base64']}"}}
    found = images_of([HumanMessage(content=[BLOCK, openai_way, {"type": "text", "text": "x"}])])
    assert [source.size for source in found] == [image.size] * 2
