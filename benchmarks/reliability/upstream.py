"""A stand-in of a model behind Chat Completions: the number in the question is the answer, after a drawn latency."""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any

LATENCY = (0.02, 0.4)  # seconds


class Upstream:
    """An ASGI application. `running` of the `begun` questions are being answered; `cancelled`: their askers left."""

    def __init__(self) -> None:
        self.running = self.cancelled = self.begun = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/stats":
            await _reply(send, {"running": self.running, "cancelled": self.cancelled, "begun": self.begun})
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":  # it went away while it was sending
                self.cancelled += 1
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.running += 1
        self.begun += 1
        try:
            await self._answer(json.loads(body), receive, send)
        finally:
            self.running -= 1

    async def _answer(self, asked: dict[str, Any], receive: Any, send: Any) -> None:
        gone = asyncio.ensure_future(receive())  # the next thing to come is that the asker has gone
        work = asyncio.ensure_future(asyncio.sleep(random.uniform(*LATENCY)))
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            self.cancelled += 1
            return
        gone.cancel()
        numbers = re.findall(r"What is number (\d+)\?", json.dumps(asked["messages"]))
        said = f"<think>I see it.</think><answer>{numbers[-1]}</answer>"
        if asked.get("stream"):
            await _stream(send, said)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            await _reply(send, {**_common("chat.completion"), "choices": [choice]})


async def _stream(send: Any, said: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    pieces = [said[start : start + 8] for start in range(0, len(said), 8)]
    for number, piece in enumerate([*pieces, ""]):
        finish = "stop" if number == len(pieces) else None
        choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": finish}
        event = json.dumps({**_common("chat.completion.chunk"), "choices": [choice]})
        await send({"type": "http.response.body", "body": f"data: {event}\n\n".encode(), "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _reply(send: Any, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _common(kind: str) -> dict[str, Any]:
    return {"id": "c", "object": kind, "created": 0, "model": "m"}
