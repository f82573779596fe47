"""An endpoint that fails: what is asked again, what is not, and what is said of it."""

from __future__ import annotations

import time

import pytest
from endpoint_agent import ask
from endpoints import Scripted, chat, failure, response
from scripted_agent import ANSWER

from agentic_vision.messages import StopReason


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
