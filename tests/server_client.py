"""Asking the agent's server with the real `openai` client."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import openai
from endpoint_agent import RECEIPT
from scripted_agent import ANSWER

from agentic_vision.policies.scripted import ScriptedPolicy

JSON = {"Content-Type": "application/json"}
URI = "data:image/png;base64," + base64.b64encode(RECEIPT.read_bytes()).decode()


def client(url: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="k", max_retries=0, **options)


def messages(
    question: str = "What is the total?", *, before: Sequence[Any] = (), images: Sequence[str] = (URI,)
) -> list[Any]:
    shown = [{"type": "image_url", "image_url": {"url": uri}} for uri in images]
    return [*before, {"role": "user", "content": [*shown, {"type": "text", "text": question}]}]


def ask(url: str, *, said: list[Any] | None = None, **options: Any) -> Any:
    return client(url).chat.completions.create(model="agentic-vision", messages=said or messages(), **options)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.005)


class Slow(ScriptedPolicy):
    """Answers when it is let go."""

    def __init__(self):
        super().__init__([ANSWER])
        self.go = threading.Event()
        self.asked = 0
        self.cancelled = 0

    async def reply(self, conversation, *, seed=None):
        self.asked += 1
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().reply(conversation, seed=seed)
