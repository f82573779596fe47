"""Models behind endpoints: what is sent, what is made of the replies, what is asked again and what is not.

Against real HTTP servers with the real `openai` client: our own `serve --raw` on the checkpoint that ships, and a
scripted endpoint with good and bad manners.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
from endpoints import Scripted, chat, events, failure, response, serving
from openai.types.chat import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.responses.response_input_param import ResponseInputParam
from pydantic import ConfigDict, TypeAdapter
from scripted_agent import FULL, crop

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.messages import FailureKind, ProblemKind, StopReason
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.protocol import write
from agentic_vision.result import DoneEvent, TextEvent
from agentic_vision.server.app import Settings, create_app

RECEIPT = Path(__file__).parent.parent / "examples" / "receipt.png"
NATIVE = {"family": "qwen3-vl", "calls": "native"}
TEXT = {"family": "qwen3-vl", "calls": "text"}
ANSWER = write(thought="I see it.", answer="417")


@pytest.fixture(scope="module")
def embedded():
    return VisionAgent(EmbeddedPolicy.load())


@pytest.fixture(scope="module")
def raw(embedded):
    """Our own server, in front of the embedded checkpoint, without the loop."""
    with serving(create_app(embedded, Settings(raw=True, model="embedded"))) as url:
        yield url


def policy(url, profile=TEXT, **options):
    return OpenAIPolicy("m", base_url=url, api_key="k", profile=profile, **{"patience": 0.0, **options})


def ask(url, picture, profile=TEXT, *, question="Which number?", options=None, **policy_options):
    agent = VisionAgent(policy(url, profile, **policy_options), **(options or {}))
    return agent.ask(picture, question)


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


# What is sent


def _strict(kind):
    """The openai package's own types, with unknown fields forbidden."""
    return TypeAdapter(kind, config=ConfigDict(extra="forbid"))


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
    assert result.trajectory.turns[0].thought == "Too small  to read."
    assert endpoint.requests[1]["messages"][2]["reasoning_content"] == "Too small  to read."


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


# What is made of the replies


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
        result = ask(url, picture, options={"deadline": 0.3})
        assert result.stop_reason is StopReason.DEADLINE
        waited = time.monotonic()
        while not endpoint.left and time.monotonic() - waited < 10:
            time.sleep(0.01)
    assert endpoint.left == 1


# What goes wrong


@pytest.mark.parametrize("after", ["0.2", "Wed, 01 Jan 2020 00:00:00 GMT"])
def test_an_overloaded_endpoint_is_asked_again_when_it_says(picture, after):
    endpoint = Scripted([failure(429, retry_after=after), failure(503), chat(ANSWER)])
    started = time.monotonic()
    with endpoint.serving() as url:
        result = ask(url, picture, patience=60.0)
    assert result.answer == "417"
    assert len(endpoint.requests) == 3
    assert time.monotonic() - started > (0.2 if after == "0.2" else 0)


def test_a_wait_that_is_longer_than_ones_patience_is_not_begun(picture):
    endpoint = Scripted([failure(429, "slow down", retry_after="3600")])
    started = time.monotonic()
    with endpoint.serving() as url:
        result = ask(url, picture, patience=30.0)
    assert time.monotonic() - started < 20
    assert result.stop_reason is StopReason.POLICY_FAILED
    assert "the endpoint is overloaded" in result.trajectory.detail


FATAL = [
    (failure(401, "Incorrect API key"), StopReason.MISCONFIGURED, "refuses the key"),
    (failure(403, "not allowed"), StopReason.MISCONFIGURED, "refuses the key"),
    (failure(404, "The model `m` does not exist", "model_not_found"), StopReason.MISCONFIGURED, "no such model"),
    (failure(429, "You exceeded your quota", "insufficient_quota"), StopReason.MISCONFIGURED, "nothing left to spend"),
    (failure(400, "m is not a multimodal model"), StopReason.MISCONFIGURED, "does not take images"),
    (failure(400, "At most 0 image(s) may be provided in one prompt."), StopReason.MISCONFIGURED, "with vision"),
    (failure(500, "image input is not supported - hint: mmproj"), StopReason.MISCONFIGURED, "with vision"),
    (failure(500, "oh dear"), StopReason.POLICY_FAILED, "is down"),
    (
        failure(400, "This model's maximum context length is 4096 tokens.", "context_length_exceeded"),
        StopReason.CONTEXT_FULL,
        "fewer or smaller images",
    ),
    (failure(400, "The response was filtered.", "content_filter"), StopReason.REFUSED, "content filter"),
    (failure(413, "too big"), StopReason.POLICY_FAILED, "lower image_quality"),
    (failure(422, "what is this"), StopReason.POLICY_FAILED, "refuses this request"),
    (chat(None, refusal="I will not."), StopReason.REFUSED, "I will not"),
    (chat("", finish="content_filter"), StopReason.REFUSED, "content filter"),
    ({"hello": "world"}, StopReason.POLICY_FAILED, "no chat completion"),
    ({"object": "chat.completion", "choices": []}, StopReason.POLICY_FAILED, "no chat completion"),
]


@pytest.mark.parametrize(("answer", "stop", "said"), FATAL)
def test_what_would_fail_again_is_asked_once_and_says_its_mend(picture, answer, stop, said):
    endpoint = Scripted([answer])
    patience = 0.0 if getattr(answer, "status_code", 0) == 500 else 60.0
    with endpoint.serving() as url:
        result = ask(url, picture, patience=patience)
    assert (result.answer, result.stop_reason) == (None, stop)
    assert said in result.trajectory.detail
    assert len(endpoint.requests) == 1


def test_a_reply_that_is_no_json_says_where_to_look(picture):
    from starlette.responses import HTMLResponse, PlainTextResponse

    for nonsense in (HTMLResponse("<h1>It works!</h1>"), PlainTextResponse("{", media_type="application/json")):
        with Scripted([nonsense]).serving() as url:
            result = ask(url, picture)
        assert result.stop_reason is StopReason.POLICY_FAILED
        assert "base_url" in result.trajectory.detail


def test_an_endpoint_that_is_not_there_is_said_after_ones_patience(picture):
    result = ask("http://127.0.0.1:9/v1", picture, patience=1.0)
    assert result.stop_reason is StopReason.POLICY_FAILED
    assert "cannot be reached" in result.trajectory.detail
    assert "check base_url" in result.trajectory.detail


def test_a_responses_endpoint_that_fails_or_refuses_is_typed(picture):
    failed = response(status="failed", error={"code": "server_error", "message": "out of order"})
    refusal = {"type": "refusal", "refusal": "I will not."}
    refused = response(None)
    refused["output"] = [
        {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [refusal]}
    ]
    for answer, stop, said in (
        (failed, StopReason.POLICY_FAILED, "out of order"),
        (refused, StopReason.REFUSED, "I will not"),
        ({"hello": "world"}, StopReason.POLICY_FAILED, "api='chat'"),
    ):
        with Scripted([answer]).serving() as url:
            result = ask(url, picture, api="responses")
        assert result.stop_reason is stop
        assert said in result.trajectory.detail


def _chunk(finish=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


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
