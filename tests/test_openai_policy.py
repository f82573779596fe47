"""Models behind endpoints: the same question through one, its limits and best answer, and settings.

Against real HTTP servers with the real `openai` client: our own `serve --raw` on the checkpoint that ships, and a
scripted endpoint with good and bad manners.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time

import pytest
from endpoint_agent import NATIVE, RECEIPT, ask, policy
from endpoints import Scripted, chat, serving
from scripted_agent import ANSWER, crop

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.messages import StopReason
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.result import DoneEvent, TextEvent
from agentic_vision.server import ServerSettings, create_app


@pytest.fixture(scope="module")
def raw(embedded):
    """Our own server, in front of the embedded checkpoint, without the loop."""
    with serving(create_app(embedded, ServerSettings(raw=True, model="embedded"))) as url:
        yield url


# The same question, behind an endpoint


@pytest.mark.parametrize("question", ["What is the total?", "What color is the logo?"])
def test_the_agent_in_front_of_an_endpoint_is_the_agent_on_the_weights_themselves(embedded, raw, question):
    exact = OpenAIPolicy("embedded", base_url=raw, api_key="k", image_quality=None)
    there = VisionAgent(exact).ask(RECEIPT, question)
    here = embedded.ask(RECEIPT, question)
    assert VisionAgent("embedded", base_url=raw, api_key="k").ask(RECEIPT, question).answer == here.answer
    assert [turn.text for turn in there.trajectory.turns] == [turn.text for turn in here.trajectory.turns]
    assert there.trajectory.views == here.trajectory.views
    assert there.usage == here.usage


def test_tools_are_called_by_the_apis_own_function_calling(embedded, raw):
    profile = {"family": "pocket", "calls": "native", "style": "compact", "tool_images": "tool"}
    there = VisionAgent(policy(raw, profile, image_quality=None)).ask(RECEIPT, "What is the total?")
    here = embedded.ask(RECEIPT, "What is the total?")
    assert there.answer == here.answer
    assert there.trajectory.calls == here.trajectory.calls


def test_the_weights_are_heard_while_they_speak_through_the_endpoint(raw):
    agent = VisionAgent("embedded", base_url=raw, api_key="k")
    happened = list(agent.stream(RECEIPT, "What is the total?", text=True))
    pieces = [event.text for event in happened if isinstance(event, TextEvent)]
    result = happened[-1]
    assert isinstance(result, DoneEvent)
    assert "".join(pieces) == "".join(turn.text for turn in result.result.trajectory.turns)
    assert len(pieces) > 10


# Limits, and a best answer


def test_at_the_turn_limit_tools_are_withdrawn_and_the_model_answers(picture):
    def reply(request):
        return chat("417") if request.get("tool_choice") == "none" else chat(calls=[("full_res", "{}")])

    endpoint = Scripted([reply])
    with endpoint.serving() as url:
        result = ask(url, picture, NATIVE, options={"max_turns": 1})
    assert (result.answer, result.stop_reason) == ("417", StopReason.TURN_LIMIT)
    assert (len(result.trajectory.turns), result.usage.requests) == (1, 2)
    first, second = endpoint.requests
    assert second["tools"] == first["tools"]  # part of the cached prefix
    assert second["messages"][:-1] == first["messages"]


def test_in_the_text_protocol_the_model_is_told_to_answer_and_words_without_tags_will_do(picture):
    def reply(request):
        told = "Tools can no longer be called" in str(request["messages"][-1]["content"])
        return chat("<think>Well.</think> 417") if told else chat(crop(0, 0, 500, 500))

    endpoint = Scripted([reply])
    with endpoint.serving() as url:
        result = ask(url, picture, options={"max_turns": 2})
    assert (result.answer, result.stop_reason) == ("417", StopReason.TURN_LIMIT)


def test_beyond_the_token_budget_the_model_answers_with_what_it_has_seen(picture):
    def reply(request):
        return chat("417") if request.get("tool_choice") == "none" else chat(calls=[("full_res", "{}")])

    with Scripted([reply]).serving() as url:
        result = ask(url, picture, NATIVE, options={"max_visual_tokens": 400, "max_turns": 8})
    assert (result.answer, result.stop_reason) == ("417", StopReason.TOKEN_BUDGET)
    assert result.usage.visual_tokens <= 400


def test_before_the_deadline_the_model_answers_with_what_it_has_seen(picture):
    def reply(request):
        async def slowly():
            await asyncio.sleep(0.2)
            box = json.dumps({"bbox_2d": [0, 0, 50 * len(request["messages"]), 200], "image": 1})
            return chat("417") if request.get("tool_choice") == "none" else chat(calls=[("zoom_crop", box)])

        return slowly()

    with Scripted([reply]).serving() as url:
        result = ask(url, picture, NATIVE, options={"deadline": 1.5, "max_turns": 20})
    assert (result.answer, result.stop_reason) == ("417", StopReason.DEADLINE)


def test_a_deadline_really_closes_the_connection(picture):
    endpoint = Scripted([])
    endpoint.script.append(endpoint.hangs())
    with endpoint.serving() as url:
        result = ask(url, picture, options={"deadline": 1.5})
        assert result.stop_reason is StopReason.DEADLINE
        waited = time.monotonic()
        while not endpoint.left and time.monotonic() - waited < 10:
            time.sleep(0.01)
    assert endpoint.left == 1


# Settings


def test_a_policy_travels_to_another_process(picture):
    with Scripted([chat(ANSWER)]).serving() as url:
        asked = policy(url)
        VisionAgent(asked).ask(picture, "Which number?")
        copy = pickle.loads(pickle.dumps(asked))
        assert VisionAgent(copy).ask(picture, "Which number?").answer == "417"


def test_impossible_settings_are_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for wrong in ({"timeout": 0}, {"max_new_tokens": 0}, {"api": "soap"}, {"image_quality": 0}):
        with pytest.raises(ConfigError):
            OpenAIPolicy("gpt-4o", api_key="k", **wrong)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIPolicy("gpt-4o")
    with pytest.raises(ConfigError, match="its fields are family"):
        OpenAIPolicy("gpt-4o", api_key="k", profile={"tokens": 3})
    with pytest.raises(ConfigError, match="no model family is called 'qwen9'"):
        OpenAIPolicy("gpt-4o", api_key="k", profile={"family": "qwen9"})
    with pytest.raises(ConfigError, match="name its model"):
        VisionAgent(base_url="http://localhost:1/v1")
