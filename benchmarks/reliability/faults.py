"""An endpoint that fails as endpoints do: it resets, refuses, drips, cuts, garbles and hangs a drawn share of requests.

Chat Completions in a server process of its own. What a request meets is drawn from the seed, its question and how often
that was asked before: the same for the same questions, in whatever order they come. What is answered is derived from
the question alone, so that an answer in the wrong place shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import socket
import struct
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from own_process import served

KINDS = ("reset", "429", "500", "drip", "cut", "no JSON", "shape", "hang")
NONCE = re.compile(r"nonce ([0-9a-f]+)")

NO_JSON = (b"", b"{", b'{"choices": [{"mess', b"<html>busy</html>", b"\xff\xfe\x00", b"[" * 100_000, b"data: {}\n\n")
SHAPES: tuple[Any, ...] = (
    None,
    7,
    "1",
    [],
    {},
    {"choices": None},
    {"choices": []},
    {"choices": [None]},
    {"choices": [{}]},
    {"choices": {"message": {"content": "1"}}},
    {"choices": [{"message": "1"}]},
    {"choices": [{"message": {"content": 1}}]},
    {"choices": [{"message": {"content": ["1"]}}]},
    {"choices": [{"message": {"content": {"text": "1"}}}]},
    {"output": [{"content": "1"}]},
    {"error": {"message": "something else", "type": "odd"}},
    {"error": "odd"},
)


def told(nonce: str) -> str:
    """The right answer to the question with this nonce."""
    return hashlib.sha256(nonce.encode()).hexdigest()[:12]


def saying(asked: str, text: str) -> str:
    """What the model says: to a judge's question its verdict, to another its answer."""
    if asked.startswith("{"):
        given = json.loads(asked)
        return str(int(given["prediction"] == given["reference"]))
    return f"<think>I see it.</think><answer>{told(text)}</answer>"


def completion(text: str) -> bytes:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9}
    said = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(said).encode()


class Faulty:
    """The application; `share` of the requests fail."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            more = event.get("more_body", False)
        if scope["method"] == "GET":
            await _sent(send, 200, json.dumps(self.met).encode())
            return
        content = json.loads(body)["messages"][1]["content"]
        asked = content if isinstance(content, str) else content[-1]["text"]
        found = NONCE.search(asked)
        assert found is not None
        nonce = found[1]
        dice = random.Random(f"{self.seed}/{nonce}/{self.asked[nonce]}")
        self.asked[nonce] += 1
        kind = dice.choice(KINDS) if dice.random() < self.share else "answered"
        self.met[kind] += 1
        await self._fail(kind, dice, receive, send, completion(saying(asked, nonce)))

    async def _fail(self, kind: str, dice: random.Random, receive: Any, send: Any, right: bytes) -> None:
        transport = send.__self__.transport  # uvicorn's: ASGI has no word for what is done to connections here
        match kind:
            case "answered":
                await _sent(send, 200, right)
            case "reset":
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()
            case "429":
                after = dice.choice([None, "1", "soon"])
                more = [(b"retry-after", after.encode())] if after else []
                await _sent(send, 429, b'{"error": {"message": "too many", "code": "rate_limit_exceeded"}}', more)
            case "500":
                await _sent(send, 500, dice.choice([b'{"error": {"message": "oops"}}', b"oops", b""]))
            case "drip":  # blanks for ever, which JSON may begin with
                await _begun(send, 200, 10**9)
                while not transport.is_closing():
                    await send({"type": "http.response.body", "body": b" ", "more_body": True})
                    await asyncio.sleep(0.2)
            case "cut":
                await _begun(send, 200, len(right))
                cut = dice.randrange(len(right))
                await send({"type": "http.response.body", "body": right[:cut], "more_body": True})
                transport.close()
            case "no JSON":
                await _sent(send, 200, dice.choice(NO_JSON))
            case "shape":
                await _sent(send, 200, json.dumps(dice.choice(SHAPES)).encode())
            case "hang":
                while (await receive())["type"] != "http.disconnect":
                    pass


async def _begun(send: Any, status: int, length: int, more: Any = ()) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _sent(send: Any, status: int, body: bytes, more: Any = ()) -> None:
    await _begun(send, status, len(body), more)
    await send({"type": "http.response.body", "body": body})


@contextmanager
def endpoint(share: float, seed: int) -> Iterator[str]:
    """Its address, while the block runs."""
    with served(Faulty, share, seed) as address:
        yield f"{address}/v1"


def met(url: str) -> Counter[str]:
    """What the requests have met so far, by kind."""
    with urllib.request.urlopen(f"{url}/met", timeout=30) as reply:
        return Counter(json.loads(reply.read()))
