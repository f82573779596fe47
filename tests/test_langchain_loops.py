"""A chat model of LangChain, asked from whichever event loop, beside the application's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from endpoint_agent import RECEIPT, TEXT
from endpoints import Scripted, chat, events
from scripted_agent import ANSWER

from agentic_vision import VisionAgent
from agentic_vision.policies.langchain import LangChainPolicy
from agentic_vision.result import TextEvent

pytest.importorskip("langchain_openai", reason="needs the extra: pip install 'agentic-vision[dev]'")
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI


def model(url: str) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=url, api_key="k", max_retries=0)


def agent(url: str) -> VisionAgent:
    return VisionAgent(LangChainPolicy(model(url), profile=TEXT))


def test_one_loop_after_another_and_none() -> None:
    with Scripted([chat(ANSWER)]).serving() as url:
        ours = agent(url)
        answers = [asyncio.run(ours.aask(RECEIPT, "What?")).answer for _ in range(3)]
        answers += [ours.ask(RECEIPT, "What?").answer for _ in range(2)]
        answers.append(asyncio.run(ours.aask(RECEIPT, "What?")).answer)
    assert answers == ["417"] * 6


def test_two_loops_at_once_and_the_application_s_own_model() -> None:
    async def application(url: str) -> list[Any]:
        ours, said = agent(url), [(await model(url).ainvoke("Hello?")).text]
        for _ in range(3):
            both = await asyncio.gather(ours.aask(RECEIPT, "What?"), asyncio.to_thread(ours.ask, RECEIPT, "What?"))
            said += [result.answer for result in both]
        return [*said, (await model(url).ainvoke("Hello?")).text]

    with Scripted([chat(ANSWER)]).serving() as url:
        assert asyncio.run(application(url)) == [ANSWER, *["417"] * 6, ANSWER]


@pytest.mark.parametrize("sync", [True, False])
def test_streams(sync: bool) -> None:
    async def heard(ours: VisionAgent) -> list[Any]:
        return [event async for event in ours.astream(RECEIPT, "What?", text=True)]

    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": "<answer>4"}, {"content": "17</answer>"}, {}]
    pieces = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        for delta in deltas
    ]
    with Scripted([events(*pieces)]).serving() as url:
        ours = agent(url)
        told = list(ours.stream(RECEIPT, "What?", text=True)) if sync else asyncio.run(heard(ours))
    assert [event.text for event in told if isinstance(event, TextEvent)] == ["<answer>4", "17</answer>"]
    assert told[-1].result.answer == "417"


def test_a_model_that_is_asynchronous_alone() -> None:
    class Later(BaseChatModel):
        _llm_type = "later"

        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            raise NotImplementedError

        async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=AIMessage(ANSWER))])

    ours = VisionAgent(LangChainPolicy(Later(), profile=TEXT))
    assert ours.ask(RECEIPT, "What?").answer == "417"
    assert list(ours.stream(RECEIPT, "What?", text=True))[-1].result.answer == "417"
