"""What is sent to a model behind an endpoint, held to the `openai` package's types."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from endpoint_agent import NATIVE, TEXT, ask
from endpoints import Scripted, chat, failure, response
from openai.types.chat import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.responses.response_input_param import ResponseInputParam
from pydantic import TypeAdapter
from scripted_agent import ANSWER, FULL

from agentic_vision.protocol import write


@pytest.mark.parametrize("profile", [TEXT, NATIVE, {**NATIVE, "detail": "high"}])
def test_chat_requests_are_what_openai_says_they_are_and_only_ever_grow(picture, profile):
    native = profile["calls"] == "native"
    box = json.dumps({"bbox_2d": [0, 0, 500, 500]})
    script = (
        [
            chat("Let me look.", calls=[("zoom_crop", box), ("full_res", "{}")]),
            chat(calls=[("nonsense", "{")]),
            chat("417"),
        ]
        if native
        else [chat(write(calls=[("zoom_crop", json.loads(box)), ("full_res", {})])), chat("nonsense"), chat(ANSWER)]
    )
    endpoint = Scripted(script)
    with endpoint.serving() as url:
        result = ask(url, picture, profile, temperature=0.0, max_new_tokens=64)
    assert result.answer == "417"
    for request in endpoint.requests:
        assert TypeAdapter(CompletionCreateParams).validate_python(request)
        assert (request["temperature"], request["max_tokens"]) == (0.0, 64)
        assert ("tools" in request) is native
    for before, after in pairwise(endpoint.requests):
        assert json.dumps(after["messages"]).startswith(json.dumps(before["messages"])[:-1])
        assert after.get("tools") == before.get("tools")
    roles = [message["role"] for message in endpoint.requests[-1]["messages"]]
    assert roles == (
        ["system", "user", "assistant", "tool", "tool", "user", "assistant", "user"]
        if native
        else ["system", "user", "assistant", "user", "user", "assistant", "user"]
    )
    images = [part for m in endpoint.requests[-1]["messages"] for part in m["content"] or () if "image_url" in part]
    assert len(images) == 3
    assert all(image["image_url"].get("detail") == profile.get("detail") for image in images)


def test_every_native_call_has_its_result_and_the_images_follow_in_order(picture):
    box = json.dumps({"bbox_2d": [0, 0, 500, 500]})
    endpoint = Scripted([chat(calls=[("zoom_crop", box), ("sharpen", "{}")]), chat("417")])
    with endpoint.serving() as url:
        ask(url, picture, NATIVE)
    *_, called, first, second, shown = endpoint.requests[-1]["messages"]
    assert called["content"] is None
    assert [call["id"] for call in called["tool_calls"]] == ["call_1", "call_2"]
    assert [first["tool_call_id"], second["tool_call_id"]] == ["call_1", "call_2"]
    assert first["content"].startswith("Image 2, from zoom_crop")
    assert "There is no tool 'sharpen'" in second["content"]
    assert [part["type"] for part in shown["content"]] == ["text", "image_url"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_native_turn_that_says_nothing_is_sent_back_as_openai_takes_it(picture, api):
    said = {"chat": [chat(""), chat("417")], "responses": [response(), response("417")]}[api]
    endpoint = Scripted(said)
    with endpoint.serving() as url:
        result = ask(url, picture, NATIVE, api=api, **({"request": {"store": False}} if api == "responses" else {}))
    assert result.answer == "417"
    for message in endpoint.requests[1]["messages" if api == "chat" else "input"]:
        assert message["content"] is not None


def test_a_server_that_takes_images_in_tool_messages_gets_them_there(picture):
    endpoint = Scripted([chat(calls=[("full_res", "")]), chat("417")])
    with endpoint.serving() as url:
        ask(url, picture, {**NATIVE, "tool_images": "tool"})
    last = endpoint.requests[-1]["messages"][-1]
    assert last["role"] == "tool"
    assert [part["type"] for part in last["content"]] == ["text", "image_url"]


def test_reasoning_comes_from_its_field_and_goes_back_there(picture):
    thought = chat(calls=[("full_res", "{}")], reasoning_content="Too small </think> to read.")
    endpoint = Scripted([thought, chat("417")])
    with endpoint.serving() as url:
        result = ask(url, picture, {**NATIVE, "reasoning": "reasoning_content"})
    assert result.trajectory.turns[0].thought == "Too small   to read."
    assert endpoint.requests[1]["messages"][2]["reasoning_content"] == "Too small   to read."


def test_the_thought_of_a_malformed_turn_goes_back_once(picture):
    broken = chat(calls=[("zoom_crop", "{bbox: 1}")], reasoning_content="Too small.")
    endpoint = Scripted([broken, chat("417")])
    with endpoint.serving() as url:
        ask(url, picture, {**NATIVE, "reasoning": "reasoning_content"})
    said = endpoint.requests[1]["messages"][2]
    assert said["reasoning_content"] == "Too small."
    assert "{bbox: 1}" in said["content"]
    assert "Too small" not in said["content"]


def test_responses_send_images_once_and_name_what_is_stored(picture):
    box = json.dumps({"bbox_2d": [0, 0, 500, 500]})
    endpoint = Scripted([response(calls=[("zoom_crop", box)], id="one"), response("417", id="two")])
    with endpoint.serving() as url:
        result = ask(url, picture, NATIVE, api="responses")
    assert result.answer == "417"
    first, second = endpoint.requests
    assert "previous_response_id" not in first
    assert second["previous_response_id"] == "one"
    (output,) = second["input"]
    assert (output["type"], output["call_id"]) == ("function_call_output", "one_0")
    assert [part["type"] for part in output["output"]] == ["input_text", "input_image"]
    for request in endpoint.requests:
        assert TypeAdapter(ResponseCreateParamsNonStreaming).validate_python(request)
        assert TypeAdapter(ResponseInputParam).validate_python(request["input"])


@pytest.mark.parametrize("profile", [TEXT, NATIVE])
def test_responses_of_an_endpoint_that_stores_nothing_are_sent_whole(picture, profile):
    native = profile["calls"] == "native"
    called = response(calls=[("full_res", "{}")]) if native else response(FULL)
    gone = failure(404, "Response with id 'r' not found.", "not_found")
    endpoint = Scripted([called, gone, response("417" if native else ANSWER)])
    with endpoint.serving() as url:
        result = ask(url, picture, profile, api="responses")
    assert result.answer == "417"
    first, _, third = endpoint.requests
    assert "previous_response_id" not in third
    assert third["input"][: len(first["input"])] == first["input"]
    assert len(third["input"]) == len(first["input"]) + 2
    assert TypeAdapter(ResponseInputParam).validate_python(third["input"])


def test_nothing_is_stored_where_the_user_says_so(picture):
    endpoint = Scripted([response(calls=[("full_res", "{}")]), response("417")])
    with endpoint.serving() as url:
        ask(url, picture, NATIVE, api="responses", request={"store": False})
    assert [request["store"] for request in endpoint.requests] == [False, False]
    assert "previous_response_id" not in endpoint.requests[1]


def test_a_seed_of_the_question_is_sent(picture):
    endpoint = Scripted([chat(ANSWER)])
    with endpoint.serving() as url:
        ask(url, picture, options={"seed": 3})
        ask(url, picture)
    assert isinstance(endpoint.requests[0]["seed"], int)
    assert "seed" not in endpoint.requests[1]
