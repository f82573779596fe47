"""An endpoint of whose requests three in ten fail: nothing is lost, nothing is wrong, and little is asked in vain."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from endpoint_agent import RECEIPT, conversation, policy
from endpoints import Scripted, chat, response
from PIL import Image
from scripted_agent import ANSWER
from starlette.responses import Response

from agentic_vision.errors import PolicyError
from agentic_vision.judge import Judge

RELIABILITY = Path(__file__).parent.parent / "benchmarks" / "reliability"


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/reliability/faulty_endpoint.py, as a module."""
    monkeypatch.syspath_prepend(RELIABILITY)
    return importlib.import_module("faulty_endpoint")


def test_every_row_is_answered_with_its_own_answer_or_failed_once(faulty: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = faulty.batch(tmp_path, 200, 0.3, 1, 2.0, 24, again=0)
    assert found.breaches == []
    assert found.plain == 200
    assert 0 < found.failed < 60  # what is garbled is not asked again, but by the next run
    assert set(found.met) == {"answered", *faulty_kinds()}


def test_no_verdict_is_ever_a_score(faulty: Any, tmp_path: Path) -> None:
    found = faulty.judged(tmp_path, 120, 0.3, 2, 2.0, 24)
    assert found.breaches == []
    assert 0 < found.failed < 36


def faulty_kinds() -> tuple[str, ...]:
    kinds: tuple[str, ...] = importlib.import_module("faults").KINDS
    return kinds


def dripping(request: Any) -> Any:  # noqa: ARG001
    """Bytes for ever, each of them long before a time-out between two bytes would end it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(600):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.05)

    return app


def is_late(seconds: float) -> None:
    assert seconds < 20, "it waited for as long as something came"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_endpoint_that_drips_is_given_up_when_its_time_is_over_and_asked_again(api: str) -> None:
    whole = chat(ANSWER) if api == "chat" else response(ANSWER)
    with Scripted([dripping, whole]).serving() as url, Image.open(RECEIPT) as picture:
        asked = policy(url, api=api, timeout=0.4, patience=20)
        started = time.monotonic()
        said = asyncio.run(asked.reply(conversation(picture)))
    assert said.text == ANSWER
    is_late(time.monotonic() - started)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_so_is_one_that_drips_a_stream(api: str) -> None:
    async def all_of(asked: Any) -> list[Any]:
        return [piece async for piece in asked.stream(conversation(picture))]

    with Scripted([dripping]).serving() as url, Image.open(RECEIPT) as picture:
        started = time.monotonic()
        with pytest.raises(PolicyError, match=r"did not answer in time: .* \(it was not whole after 0\.4 s\)"):
            asyncio.run(all_of(policy(url, api=api, timeout=0.4)))
    is_late(time.monotonic() - started)


def test_a_stream_that_goes_on_for_longer_than_a_request_may_is_heard_to_its_end() -> None:
    def long(_: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            for delta in [*({"content": letter} for letter in "slowly"), {}]:
                choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
                chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
                body = b"data: " + json.dumps(chunk).encode() + b"\n\n"
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await asyncio.sleep(0.15)
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

        return app

    async def last_of(asked: Any) -> Any:
        return [piece async for piece in asked.stream(conversation(picture))][-1]

    with Scripted([long]).serving() as url, Image.open(RECEIPT) as picture:
        assert asyncio.run(last_of(policy(url, timeout=0.7))).text == "slowly"


def verdict(script: list[Any], **settings: Any) -> Any:
    async def said(url: str) -> Any:
        async with Judge("m", base_url=url, api_key="k", **settings) as judge:
            return await judge.verdict("Which number?", "417", "417")

    with Scripted(script).serving() as url:
        return asyncio.run(said(url))


def test_a_judge_that_drips_is_asked_again() -> None:
    started = time.monotonic()
    assert verdict([dripping, chat("1")], timeout=0.4, patience=20).correct is True
    is_late(time.monotonic() - started)


def test_a_judge_that_says_under_the_status_of_a_success_that_it_is_overloaded_is_asked_again() -> None:
    busy = {"error": {"message": "too many", "type": "rate_limit_error"}}
    assert verdict([busy, chat("1")], patience=20).correct is True
    refused = verdict([{"error": {"message": "not that", "type": "odd"}}], patience=20)
    assert (refused.correct, "refuses this question: not that" in refused.reason) == (None, True)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"choices": {"0": 1}}', b"\xff", b""], ids=["deep", "map", "bytes", "none"]
)
def test_nonsense_of_a_judge_is_no_verdict_whatever_it_looks_like(body: bytes) -> None:
    said = verdict([Response(body, media_type="application/json")], patience=0)
    assert (said.correct, "sent no chat completion" in said.reason) == (None, True)
