"""The agent's server under load: its queue, deadlines, clients that go away, and metrics."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from endpoints import serving
from server_client import Slow, ask, client, messages, until

from agentic_vision import VisionAgent
from agentic_vision.server import ServerSettings, create_app


@pytest.mark.parametrize("stream", [False, True])
def test_beyond_the_queue_a_client_is_told_when_to_come_again(stream):
    policy = Slow()
    app = create_app(VisionAgent(policy), ServerSettings(in_flight=1, queue=1))
    with serving(app) as url, ThreadPoolExecutor(2) as others:
        health = url.replace("/v1", "/healthz")
        waiting = [others.submit(ask, url) for _ in range(2)]
        until(lambda: httpx.get(health).json() == {"status": "ok", "running": 1, "waiting": 1})
        with pytest.raises(openai.RateLimitError) as raised:
            ask(url, stream=stream)
        assert int(raised.value.response.headers["retry-after"]) >= 1
        policy.go.set()
        assert {done.result().choices[0].message.content for done in waiting} == {"417"}
        assert policy.asked == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_ends_a_request_and_its_question(stream):
    policy = Slow()
    with serving(create_app(VisionAgent(policy), ServerSettings(deadline=0.3))) as url:
        with pytest.raises(openai.APIError, match=re.escape("no answer within 0.3 s")):
            list(ask(url, stream=stream))
        until(lambda: policy.cancelled)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_takes_its_question_along(stream):
    policy = Slow()
    with serving(create_app(VisionAgent(policy))) as url:
        with pytest.raises(openai.APITimeoutError):
            list(client(url, timeout=0.3).chat.completions.create(model="m", messages=messages(), stream=stream))
        until(lambda: policy.cancelled)


def test_metrics_tell_how_it_goes(embedded):
    with serving(create_app(embedded)) as url:
        ask(url)
        with pytest.raises(openai.BadRequestError):
            ask(url, said=messages(""))
        told = httpx.get(url.replace("/v1", "/metrics")).text
    for line in (
        'agentic_vision_requests_total{status="200"} 1.0',
        'agentic_vision_requests_total{status="400"} 1.0',
        'agentic_vision_questions_total{stop="answered"} 1.0',
        'agentic_vision_tool_calls_total{tool="zoom_crop"} 1.0',
        "agentic_vision_visual_tokens_total 50.0",
        "agentic_vision_full_resolution_visual_tokens_total 120.0",
        "agentic_vision_question_seconds_count 1.0",
        "agentic_vision_running 0.0",
    ):
        assert line in told
