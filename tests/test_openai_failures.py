"""An endpoint that fails: what is asked again, what is not, and what is said of it."""

from __future__ import annotations

import asyncio
import time

import pytest
from endpoint_agent import TEXT, ask, conversation, policy
from endpoints import Scripted, chat, events, failure, response
from scripted_agent import ANSWER

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.endpoint import on_overload
from agentic_vision.messages import StopReason
from agentic_vision.policies.openai import OpenAIPolicy


@pytest.mark.parametrize("after", ["1", "Wed, 01 Jan 2020 00:00:00 GMT"])
def test_an_overloaded_endpoint_is_asked_again_when_it_says(picture, after):
    endpoint = Scripted([failure(429, retry_after=after), failure(503), chat(ANSWER)])
    started = time.monotonic()
    with endpoint.serving() as url:
        result = ask(url, picture, patience=60.0)
    assert result.answer == "417"
    assert len(endpoint.requests) == 3
    assert time.monotonic() - started > (1 if after == "1" else 0)


@pytest.mark.parametrize(
    "told",
    [
        {"retry_after_ms": "nan"},
        {"retry_after_ms": "inf"},
        {"retry_after": "0"},
        {"retry_after": "Wed, 01 Jan 2020 00:00:00 GMT"},
        {"retry_after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
    ],
)
def test_who_says_nonsense_or_now_is_asked_with_back_off_and_not_for_ever(picture, told):
    endpoint = Scripted([failure(429, **told)])
    with endpoint.serving() as url:
        result = ask(url, picture, patience=1.5)
    assert result.stop_reason is StopReason.POLICY_FAILED
    assert len(endpoint.requests) < 15


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
    (failure(403, "requires moderation; your input was flagged"), StopReason.REFUSED, "content filter"),
    (failure(400, "This model does not support image inputs."), StopReason.MISCONFIGURED, "with vision"),
    (failure(400, "image_url is only supported by certain models."), StopReason.MISCONFIGURED, "with vision"),
    # Of one picture, and not of the model:
    (failure(400, "Invalid image: aspect ratio 250:1 is not supported"), StopReason.POLICY_FAILED, "this request"),
    (failure(400, "The image: 10x2 pixels is not allowed"), StopReason.POLICY_FAILED, "this request"),
    (failure(400, "We do not support images larger than 20 MB"), StopReason.POLICY_FAILED, "this request"),
    (failure(400, "The image type is not supported"), StopReason.POLICY_FAILED, "this request"),
    # Of the pace, and not of the conversation:
    (failure(429, "Too many tokens, please wait before trying again."), StopReason.POLICY_FAILED, "is overloaded"),
    (failure(429, "the moderation endpoint is busy"), StopReason.POLICY_FAILED, "is overloaded"),
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
    passes = getattr(answer, "status_code", 0) == 500 or said == "is overloaded"
    with endpoint.serving() as url:
        result = ask(url, picture, patience=0.0 if passes else 60.0)
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


def test_a_part_of_a_response_that_is_not_known_is_no_refusal(picture):
    answer = response(ANSWER)
    answer["output"][0]["content"].insert(0, {"type": "output_song", "song": "la"})
    with Scripted([answer]).serving() as url:
        assert ask(url, picture, api="responses").answer == "417"


# What passes, and comes without its status


def _failed(code):
    return response(status="failed", error={"code": code, "message": "try again"})


OVERLOADED = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}


@pytest.mark.parametrize(
    ("first", "then", "options"),
    [
        ({"error": {"message": "rate limited upstream", "code": 429}}, chat(ANSWER), {}),
        ({"error": {"message": "oh dear", "type": "InternalServerError", "code": 500}}, chat(ANSWER), {}),
        (_failed("rate_limit_exceeded"), response(ANSWER), {"api": "responses"}),
        (_failed("server_error"), response(ANSWER), {"api": "responses"}),
    ],
)
def test_a_failure_under_the_status_of_a_success_is_asked_again_where_it_passes(picture, first, then, options):
    endpoint, overloads = Scripted([first, then]), []
    with endpoint.serving() as url, on_overload(lambda: overloads.append(1)):
        reply = asyncio.run(policy(url, patience=60.0, **options).reply(conversation(picture)))
    assert reply.text == ANSWER
    assert len(endpoint.requests) == 2
    assert len(overloads) == ("rate" in str(first))


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_stream_that_begins_with_such_a_failure_is_asked_for_again(picture, api):
    chunk = {"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    failed = {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}
    script = {
        "chat": [events(OVERLOADED), events({**head, "choices": [chunk]})],
        "responses": [
            events(OVERLOADED),
            events(failed),
            events({"type": "response.failed", "response": _failed("server_error")}),
            events({"type": "response.completed", "response": response(ANSWER)}),
        ],
    }[api]
    endpoint = Scripted(script)
    with endpoint.serving() as url:
        happened = list(VisionAgent(policy(url, api=api, patience=60.0)).stream(picture, "Which number?", text=True))
    assert happened[-1].result.answer == "417"
    assert len(endpoint.requests) == len(script)


def test_a_failure_under_the_status_of_a_success_that_does_not_pass_is_typed(picture):
    for code, stop in (
        (401, StopReason.MISCONFIGURED),
        ("insufficient_quota", StopReason.MISCONFIGURED),
        ("context_length_exceeded", StopReason.CONTEXT_FULL),
        ("what", StopReason.POLICY_FAILED),
    ):
        endpoint = Scripted([{"error": {"message": "no", "code": code}}])
        with endpoint.serving() as url:
            assert ask(url, picture, patience=60.0).stop_reason is stop
        assert len(endpoint.requests) == 1


# Keys and addresses


def test_the_key_is_told_to_nobody_and_one_that_cannot_be_sent_is_told_at_once(picture, monkeypatch):
    endpoint = Scripted([chat(ANSWER)])
    with endpoint.serving() as url:
        secret = OpenAIPolicy("m", base_url=url, api_key="sk-secret\n", profile=TEXT)  # from a file
        assert VisionAgent(secret).ask(picture, "Which number?").answer == "417"
        assert endpoint.headers[0]["authorization"] == "Bearer sk-secret"
        header = policy(url, patience=60.0, request={"extra_headers": {"Authorization": "Bearer sk-secret\n"}})
        trajectory = VisionAgent(header).ask(picture, "Which number?").trajectory
    assert trajectory.stop_reason is StopReason.MISCONFIGURED
    assert "header" in trajectory.detail
    assert "secret" not in trajectory.model_dump_json()
    for key in ("sk-sec\nret", "sk-secr\u00e9t"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        for given in (key, None):
            with pytest.raises(ConfigError, match="exactly as its provider shows it") as told:
                OpenAIPolicy("m", base_url="http://localhost/v1", api_key=given)
            assert "sk-" not in str(told.value)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_key_that_the_endpoint_repeats_is_not_repeated(picture, status):
    """The detail is stored in trajectories, and our server's clients read it."""
    endpoint = Scripted([failure(status, "no project has the key sk-of-the-operator")])
    with endpoint.serving() as url:
        agent = VisionAgent(OpenAIPolicy("m", base_url=url, api_key="sk-of-the-operator", profile=TEXT, patience=0.0))
        result = agent.ask(picture, "Which number?")
    assert endpoint.headers[0]["authorization"] == "Bearer sk-of-the-operator"
    assert "no project has the key ***" in result.trajectory.detail
    assert "sk-of" not in result.trajectory.model_dump_json()


@pytest.mark.parametrize("address", ["localhost:8000/v1", "127.0.0.1:8000/v1", "", "ftp://localhost/v1"])
def test_an_address_without_its_scheme_is_told_at_once(address):
    with pytest.raises(ConfigError, match="begin it with http:// or https://"):
        policy(address)
