"""The bare policy behind the server: the policy's own replies, results beside their calls, nobody kept waiting."""

from __future__ import annotations

import asyncio

import openai
import pytest
from endpoints import serving
from scripted_agent import ANSWER, Failing
from server_client import Slow, ask, messages, until

from agentic_vision import PolicyError, Source, VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server import ServerSettings, create_app


def test_raw_is_the_policy_without_the_loop(embedded):
    with serving(create_app(embedded, ServerSettings(raw=True))) as url:
        said = [{"role": "system", "content": "Tools: zoom_crop, full_res, resize."}, *messages()]
        done = ask(url, said=said)
        assert done.choices[0].message.content.startswith("<think>")
        assert done.usage.prompt_tokens_details.image_tokens == 120  # as it was sent
        pieces = [c.choices[0].delta.content or "" for c in ask(url, said=said, stream=True)]
        assert "".join(pieces) == done.choices[0].message.content
        assert len(pieces) > 4


def test_raw_keeps_the_cache_of_a_conversation_that_goes_on(embedded):
    sessions = embedded.policy._sessions
    with serving(create_app(embedded, ServerSettings(raw=True))) as url:
        said = messages()
        first = ask(url, said=said).choices[0].message
        before = len(sessions)
        more = [*said, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And the date?"}]
        ask(url, said=more)
        assert len(sessions) == before
        ask(url, said=messages("And the date?"))
        assert len(sessions) == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_conversations_that_cannot_be_told_apart_one_is_kept(stream):
    policy = Failing()
    policy._script = lambda _: ANSWER
    with serving(create_app(VisionAgent(policy), ServerSettings(raw=True))) as url:
        for _ in range(2):
            list(ask(url, stream=stream))
        assert len(policy.forgotten) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_whose_reply_fails_is_forgotten(stream):
    policy = Failing()
    policy._script = lambda _: ANSWER
    with serving(create_app(VisionAgent(policy), ServerSettings(raw=True))) as url:
        first = ask(url).choices[0].message.content
        policy.error = PolicyError("down")
        more = [*messages(), {"role": "assistant", "content": first}, {"role": "user", "content": "And the date?"}]
        with pytest.raises(openai.APIError, match="down"):
            list(ask(url, said=more, stream=stream))
        assert len(policy.forgotten) == 1


def test_a_conversation_whose_client_leaves_is_forgotten():
    class Waiting(Slow):
        forgotten = 0

        def forget(self, _):
            self.forgotten += 1

    policy = Waiting()
    with serving(create_app(VisionAgent(policy), ServerSettings(raw=True))) as url:
        with pytest.raises(openai.APITimeoutError):
            ask(url, timeout=0.5)
        until(lambda: policy.forgotten == 1)


# Calls and their results

TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def test_a_tool_may_have_neither_words_nor_arguments(heard):
    url, asked = heard
    ask(url, tools=[{"type": "function", "function": {"name": "look", "description": None, "parameters": None}}])
    (tool,) = asked[-1].tools
    assert (tool.description, tool.schema) == ("", {})


def called(*ids):
    calls = [
        {"id": id, "type": "function", "function": {"name": "look", "arguments": f'{{"at": "{id}"}}'}} for id in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def came(id):
    return {"role": "tool", "tool_call_id": id, "content": f"what is at {id}"}


@pytest.fixture(scope="module")
def heard():
    """The address of a bare policy, and what it is asked."""
    asked = []
    policy = ScriptedPolicy(lambda conversation: asked.append(conversation) or ANSWER)
    with serving(create_app(VisionAgent(policy), ServerSettings(raw=True))) as url:
        yield url, asked


def test_results_are_told_in_the_order_of_their_calls(heard):
    url, asked = heard
    said = [*messages(), called("a", "b", "c"), came("c"), came("a"), came("b"), called("d"), came("d")]
    ask(url, said=said, tools=[TOOL])
    results = [message.text for message in asked[-1].messages if message.role == "tool"]
    assert results == [f"what is at {id}" for id in "abcd"]


@pytest.mark.parametrize(
    "said",
    [
        [called("a", "b"), came("a"), came("x")],
        [called("a", "b"), came("a"), came("a")],
        [called("a", "b"), came("b")],
        [called("a"), came("a"), called("b"), came("a")],
        [came("a")],
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_results_that_answer_no_call_or_not_all_are_refused(heard, said, stream):
    with pytest.raises(openai.BadRequestError, match="tool_call_id"):
        ask(heard[0], said=[*messages(), *said], tools=[TOOL], stream=stream)


def test_results_of_a_text_protocol_have_no_ids(heard):
    url, asked = heard
    call = {"role": "assistant", "content": '<tool_call>{"name": "look", "arguments": {}}</tool_call>'}
    ask(url, said=[*messages(), call, {"role": "tool", "content": "a cat"}])
    assert asked[-1].messages[-1].text == "a cat"


@pytest.mark.parametrize("tools", [{}, {"tools": [TOOL]}])
def test_a_stream_without_tool_calls_is_one_as_well(embedded, tools):
    with serving(create_app(embedded, ServerSettings(raw=True))) as url:
        whole = ask(url, tool_choice="none", **tools).choices[0].message.content
        pieces = list(ask(url, tool_choice="none", stream=True, **tools))
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole
        assert not any(piece.choices[0].delta.tool_calls for piece in pieces)


def test_images_are_read_while_others_are_served(heard, monkeypatch):
    opened, where = Source.open, []

    def noted(image):
        try:
            where.append(asyncio.get_running_loop())
        except RuntimeError:
            where.append(None)
        return opened(image)

    monkeypatch.setattr(Source, "open", noted)
    ask(heard[0])
    list(ask(heard[0], stream=True))
    assert where == [None, None]
