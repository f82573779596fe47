"""What is made of the replies of a model behind an endpoint, whole and streamed."""

from __future__ import annotations

import asyncio
import json
import time
import warnings

import pytest
from endpoint_agent import NATIVE, ask, policy
from endpoints import Scripted, chat, events, response
from scripted_agent import ANSWER
from starlette.responses import Response

from agentic_vision import VisionAgent
from agentic_vision.messages import FailureKind, ProblemKind, StopReason
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.result import TextEvent


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("417", "417"),
        ("<think>It says 417.</think>417", "417"),
        ("It says 417.</think>\n\n417", "417"),
        (ANSWER, "417"),
    ],
)
def test_a_native_answer_is_what_was_said(picture, said, answer):
    with Scripted([chat(said)]).serving() as url:
        assert ask(url, picture, NATIVE).answer == answer


def test_native_arguments_that_are_no_json_are_reported_and_mended(picture):
    endpoint = Scripted([chat(calls=[("zoom_crop", "{bbox: 1}")]), chat("417")])
    with endpoint.serving() as url:
        result = ask(url, picture, NATIVE)
    assert result.answer == "417"
    assert result.trajectory.turns[0].problem.kind is ProblemKind.BAD_JSON
    assert "not a valid JSON object" in endpoint.requests[1]["messages"][-1]["content"]
    assert "<tool_call>" not in endpoint.requests[1]["messages"][-1]["content"]


def test_a_tag_inside_native_arguments_ends_nothing(picture):
    endpoint = Scripted(
        [chat(calls=[("full_res", json.dumps({"note": "</tool_call><answer>1</answer>"}))]), chat("417")]
    )
    with endpoint.serving() as url:
        result = ask(url, picture, NATIVE)
    assert result.trajectory.calls[0].arguments == {"note": "</tool_call><answer>1</answer>"}
    assert result.trajectory.observations[1].failure.kind is FailureKind.BAD_ARGUMENTS


def test_a_reply_cut_by_its_length_is_told_to_the_model(picture):
    endpoint = Scripted([chat("<think>Let me see", finish="length"), chat(ANSWER)])
    with endpoint.serving() as url:
        result = ask(url, picture)
    assert result.trajectory.turns[0].problem.kind is ProblemKind.TOO_LONG
    assert result.answer == "417"


def test_usage_and_price_are_told(picture):
    reply = {**chat("417"), "usage": {
        "prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010,
        "prompt_tokens_details": {"cached_tokens": 400},
    }}  # fmt: skip
    with Scripted([reply]).serving() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = VisionAgent(OpenAIPolicy("gpt-4o", base_url=url, api_key="k"))
        usage = agent.ask(picture, "Which number?").usage
        unknown = ask(url, picture, NATIVE).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1000, 400, 10)
    assert usage.cost == pytest.approx((600 * 2.5 + 400 * 1.25 + 10 * 10) / 1e6)
    assert unknown.cost is None


@pytest.mark.parametrize(
    "usage",
    [{}, None, {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens_details": {"cached_tokens": None}}],
)
def test_an_answer_whose_usage_is_not_told_is_an_answer(picture, usage):
    theirs = {"input_tokens_details": {}} if usage else usage
    for api, reply in (("chat", {**chat(ANSWER), "usage": usage}), ("responses", response(ANSWER, usage=theirs))):
        with Scripted([reply]).serving() as url:
            result = ask(url, picture, api=api)
        assert (result.answer, result.usage.input_tokens, result.usage.cached_tokens) == ("417", 0, 0)


@pytest.mark.parametrize("exactly", [True, False])
def test_an_endpoint_that_counts_otherwise_is_told_once(picture, exactly):
    def counted(image_tokens):
        details = {"image_tokens": image_tokens} if exactly else None
        total = {"prompt_tokens": image_tokens + 600, "prompt_tokens_details": details}
        return {**chat(ANSWER), "usage": {"completion_tokens": 1, "total_tokens": 1, **total}}

    glance = policy("http://x").family.glance(picture.size).tokens
    with Scripted([counted(glance)]).serving() as url, warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(url, picture)
    with Scripted([counted(20 * glance)]).serving() as url, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        agent = VisionAgent(policy(url))
        agent.ask(picture, "Which number?")
        agent.ask(picture, "Which number?")
    charged = [str(warning.message) for warning in told if "charges" in str(warning.message)]
    assert len(charged) == 1
    assert "profile={'family': ...}" in charged[0]


# Streams


def _chunk(finish=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


def _escaped(value, status=200):
    return Response(json.dumps(value), status, media_type="application/json")


def _heard(url, picture, **options):
    agent = VisionAgent(policy(url, **options))
    happened = list(agent.stream(picture, "Which number?", text=True))
    return [event.text for event in happened if isinstance(event, TextEvent)], happened[-1].result


def test_a_stream_is_heard_and_its_usage_read(picture):
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    last = {**_chunk(), "choices": [], "usage": usage}
    script = [events(_chunk(role="assistant"), _chunk(content="<answer>4"), _chunk(content="17</answer>"),
                     _chunk(finish="stop"), last)]  # fmt: skip
    with Scripted(script).serving() as url:
        pieces, result = _heard(url, picture)
    assert pieces == ["<answer>4", "17</answer>"]
    assert (result.answer, result.usage.output_tokens) == ("417", 2)


def test_a_stream_that_is_cut_or_filtered_is_what_it_is_at_once(picture):
    script = [events(_chunk(content="<think>Let me see"), _chunk(finish="length")),
              events(_chunk(content=ANSWER), _chunk(finish="stop"))]  # fmt: skip
    with Scripted(script).serving() as url:
        pieces, result = _heard(url, picture)
    assert pieces == ["<think>Let me see", ANSWER]
    assert result.trajectory.turns[0].problem.kind is ProblemKind.TOO_LONG
    assert result.answer == "417"
    with Scripted([events(_chunk(content=""), _chunk(finish="content_filter"))]).serving() as url:
        assert _heard(url, picture)[1].stop_reason is StopReason.REFUSED


def test_a_character_in_two_halves_is_heard_whole_and_half_of_one_breaks_nothing(picture):
    said = ["<answer>", "\ud83d", "\ude00", " \udcff", "\ud83d", "</answer>"]
    stream = events(*(_chunk(content=piece) for piece in said), _chunk(finish="stop"))
    with Scripted([stream]).serving() as url:
        pieces, result = _heard(url, picture)
    assert pieces == ["<answer>", "\U0001f600", " \ufffd", "\ufffd</answer>"]
    assert result.answer == "\U0001f600 \ufffd\ufffd"
    with Scripted([_escaped(chat("\ud83d\ude00 \ud83d"))]).serving() as url:
        assert ask(url, picture, NATIVE).answer == "\U0001f600 \ufffd"
    with Scripted([_escaped({"error": {"message": "no \ud83d"}}, 400)]).serving() as url:
        said = ask(url, picture).trajectory.detail
        assert "no \ufffd" in said or r"no \ud83d" in said  # older releases of openai write the half as an escape


def test_a_native_call_is_put_together_from_its_stream(picture):
    def call(**function):
        return _chunk(tool_calls=[{"index": 0, "function": function}])

    begun = _chunk(role="assistant", tool_calls=[
        {"index": 0, "id": "theirs", "type": "function", "function": {"name": "full_res", "arguments": ""}}
    ])  # fmt: skip
    script = [events(begun, call(arguments="{"), call(arguments="}"), _chunk(finish="tool_calls")),
              events(_chunk(content="417"), _chunk(finish="stop"))]  # fmt: skip
    with Scripted(script).serving() as url:
        _, result = _heard(url, picture, profile=NATIVE)
    assert [call.name for call in result.trajectory.calls] == ["full_res"]
    assert result.answer == "417"


def test_a_stream_that_breaks_off_is_typed_and_asked_again_only_while_nothing_was_said(picture):
    broken = [events(_chunk(content="<answer>4"), done=False)]
    endpoint = Scripted(broken)
    with endpoint.serving() as url:
        pieces, result = _heard(url, picture, patience=60.0)
    assert (pieces, result.stop_reason) == (["<answer>4"], StopReason.POLICY_FAILED)
    assert "broke off" in result.trajectory.detail
    assert len(endpoint.requests) == 1

    endpoint = Scripted([events(done=False), events(_chunk(content=ANSWER), _chunk(finish="stop"))])
    with endpoint.serving() as url:
        _, result = _heard(url, picture, patience=60.0)
    assert result.answer == "417"
    assert len(endpoint.requests) == 2


def test_a_listener_who_leaves_closes_the_connection(picture):
    async def leave(url):
        agent = VisionAgent(policy(url))
        stream = agent.astream(picture, "Which number?", text=True)
        async for event in stream:
            if isinstance(event, TextEvent):
                break
        await stream.aclose()

    async def endless():
        while True:
            yield f"data: {json.dumps(_chunk(content='a'))}\n\n"
            await asyncio.sleep(0.01)

    from starlette.responses import StreamingResponse

    with Scripted([StreamingResponse(endless(), media_type="text/event-stream")]).serving() as url:
        started = time.monotonic()
        asyncio.run(leave(url))
    assert time.monotonic() - started < 20
