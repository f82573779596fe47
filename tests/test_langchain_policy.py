"""LangChain's chat models as policies: the real `ChatOpenAI`, against our server and a scripted endpoint over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from http import HTTPStatus
from itertools import pairwise
from typing import ClassVar

import pytest
from endpoint_agent import NATIVE, RECEIPT, TEXT, conversation
from endpoints import Scripted, chat, events, failure, response, serving
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from scripted_agent import ANSWER

from agentic_vision import PolicyError, VisionAgent
from agentic_vision.endpoint import on_overload
from agentic_vision.errors import RefusedError
from agentic_vision.messages import StopReason
from agentic_vision.policies.langchain import LangChainPolicy
from agentic_vision.protocol import write
from agentic_vision.result import TextEvent
from agentic_vision.server import ServerSettings, create_app

pytest.importorskip("langchain_openai", reason="needs the extra: pip install 'agentic-vision[dev]'")
from langchain_openai import ChatOpenAI

BLOCK = {"type": "image", "base64": base64.b64encode(RECEIPT.read_bytes()).decode(), "mime_type": "image/png"}


def model(url):
    return ChatOpenAI(model="m", base_url=url, api_key="k", max_retries=0)


@pytest.mark.parametrize("calls", ["text", "native"])
def test_a_chat_model_in_front_of_the_embedded_weights_answers_as_they_do(embedded, calls):
    profile = {"family": "pocket", "calls": calls, "style": "compact", "tool_images": "tool"}
    with serving(create_app(embedded, ServerSettings(raw=True))) as url:
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


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_provider_signs_goes_back_with_the_results_of_its_calls(picture, streamed):
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "signed"}
    first = response(calls=[("full_res", "{}")])
    first["output"].insert(0, thought)
    added = [
        {"type": "response.output_item.done", "output_index": index, "sequence_number": index, "item": item}
        for index, item in enumerate(first["output"])
    ]
    added.insert(1, {**added[1], "type": "response.output_item.added"})
    done = {"type": "response.completed", "sequence_number": 9, "response": first}
    last = {**done, "response": response("417")}
    endpoint = Scripted([events(*added, done), events(last)] if streamed else [first, response("417")])
    with endpoint.serving() as url:
        chosen = ChatOpenAI(model="m", base_url=url, api_key="k", max_retries=0, use_responses_api=True)
        policy = LangChainPolicy(chosen, profile=NATIVE)
        if streamed:
            *_, last = VisionAgent(policy).stream(picture, "Which number?", text=True)
            assert last.result.trajectory.calls
        else:
            assert VisionAgent(policy).ask(picture, "Which number?").answer == "417"
    sent = endpoint.requests[1]["input"]
    assert [item["encrypted_content"] for item in sent if item["type"] == "reasoning"] == ["signed"]
    ids = [item["call_id"] for item in sent if item["type"] in ("function_call", "function_call_output")]
    assert ids == ["r_0", "r_0"]
    assert not policy._kept  # forgotten with the question


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


def refusal(**fields):
    return type("ProviderError", (Exception,), fields)("no")


def hidden(cause):
    error = RuntimeError("Error calling model")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "stop", "said"),
    [
        (refusal(status_code=401), StopReason.MISCONFIGURED, "give the chat model its provider's key"),  # Anthropic
        (refusal(code=429), StopReason.POLICY_FAILED, "overloaded"),  # Google
        (refusal(code=HTTPStatus.NOT_FOUND), StopReason.MISCONFIGURED, "no such model"),
        (hidden(refusal(code=403)), StopReason.MISCONFIGURED, "provider's key"),
        (refusal(response={"ResponseMetadata": {"HTTPStatusCode": 503}}), StopReason.POLICY_FAILED, "down"),  # botocore
        (NotImplementedError(), StopReason.POLICY_FAILED, "the chat model failed (NotImplementedError)"),
        (ValueError("no region"), StopReason.POLICY_FAILED, "the chat model failed (ValueError: no region)"),
        (refusal(code=1006), StopReason.POLICY_FAILED, "the chat model failed (ProviderError: no)"),
    ],
)
def test_what_a_provider_s_package_raises_is_typed(picture, error, stop, said):
    class Fails(ChatOpenAI):
        def invoke(self, *args, **options):  # noqa: ARG002
            raise error

        async def ainvoke(self, *args, **options):  # noqa: ARG002
            raise error

    result = VisionAgent(LangChainPolicy(Fails(model="m", api_key="k"), profile=TEXT)).ask(picture, "Which number?")
    assert result.stop_reason is stop
    assert said in result.trajectory.detail
    assert "OPENAI_API_KEY" not in result.trajectory.detail


ENDINGS = [  # the metadata of the providers' messages, as their packages write it
    ({"finish_reason": "length", "model_provider": "openai"}, "cut"),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "cut"),
    ({"stop_reason": "max_tokens", "stop_sequence": None}, "cut"),
    ({"stop_reason": "model_context_window_exceeded"}, "cut"),
    ({"stopReason": "max_tokens", "metrics": {"latencyMs": [609]}}, "cut"),
    ({"done_reason": "length", "done": True}, "cut"),
    ({"finish_reason": "MAX_TOKENS", "safety_ratings": []}, "cut"),
    ({"finish_reason": "content_filter"}, "refused"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "refused"),
    ({"stop_reason": "refusal"}, "refused"),
    ({"stopReason": "guardrail_intervened"}, "refused"),
    ({"stopReason": "content_filtered"}, "refused"),
    ({"finish_reason": "SAFETY"}, "refused"),
    ({"finish_reason": "PROHIBITED_CONTENT"}, "refused"),
    ({"status": "completed", "incomplete_details": None}, "whole"),
    ({"stopReason": "end_turn"}, "whole"),
    ({"done_reason": "stop"}, "whole"),
]


@pytest.mark.parametrize(("metadata", "ending"), ENDINGS)
def test_how_a_reply_ended_is_read_from_every_provider_s_message(picture, metadata, ending):
    class Says(ChatOpenAI):
        async def ainvoke(self, *args, **options):  # noqa: ARG002
            return AIMessage(content="The total is", response_metadata=metadata)

    policy = LangChainPolicy(Says(model="m", api_key="k"), profile=NATIVE)
    if ending == "refused":
        with pytest.raises(RefusedError, match="the model refused"):
            asyncio.run(policy.reply(conversation(picture)))
        return
    reply = asyncio.run(policy.reply(conversation(picture)))
    assert reply.truncated is (ending == "cut")
    assert ("<answer>" in reply.text) is (ending == "whole")
