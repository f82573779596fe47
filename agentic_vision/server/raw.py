"""The bare policy as Chat Completions, without the loop: `agentic-vision serve --raw`.

With it local weights are an endpoint like any other. A request that goes on from an earlier one finds its KV cache
again: conversations are recognised by what was said in them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import RefusedError
from ..policies.native_calls import from_text
from ..policy import Concluding, Conversation, Message, Policy, Reply, Streaming, TextPart
from .incoming import conversation
from .wire import END, ChatRequest, Completion

KEPT = 64  # conversations that may go on


@dataclass
class Said:
    """What came of a stream, once it has ended."""

    reply: Reply = field(default_factory=lambda: Reply(text=""))
    finish_reason: str = "stop"


class Raw:
    """Asks one policy. `as_written`: a reply is passed on with its tags; else the answer is taken out of them."""

    def __init__(self, policy: Policy, *, as_written: bool) -> None:
        self._policy, self._as_written = policy, as_written
        self._ids: OrderedDict[str, str] = OrderedDict()  # what was said -> the conversation's id

    async def ask(self, request: ChatRequest, held: Mapping[str, bytes], completion: Completion) -> dict[str, Any]:
        """The completion; `held` are the images at URLs. Raises `PolicyError` and `ImageError`."""
        asked = await self._conversation(request, held)
        try:
            with self._kept(asked):
                reply = await self._reply(request, asked)
                self._keep(asked, reply)
        except RefusedError as refused:  # as the agent's: the request was well, and so is the server
            message = {"role": "assistant", "content": "", "refusal": str(refused)}
            return completion.whole(message, "content_filter", self._usage(asked, Reply(text="")))
        message, finish_reason = _message(reply, native=self._is_read(request))
        return completion.whole(message, finish_reason, self._usage(asked, reply))

    async def stream(
        self, request: ChatRequest, held: Mapping[str, bytes], completion: Completion
    ) -> AsyncGenerator[str, None]:
        """The completion as server-sent events; with tools, which are read from the whole reply, in one piece."""
        asked = await self._conversation(request, held)
        said = Said()
        try:
            with self._kept(asked):
                async with aclosing(self._deltas(request, asked, said)) as deltas:
                    async for delta in deltas:
                        yield completion.chunk(delta)
                self._keep(asked, said.reply)
        except RefusedError as refused:
            said.finish_reason = "content_filter"
            yield completion.chunk({"refusal": str(refused)})
        yield completion.chunk({}, said.finish_reason)
        if request.stream_options and request.stream_options.include_usage:
            yield completion.last_chunk(self._usage(asked, said.reply))
        yield END

    async def _deltas(
        self, request: ChatRequest, asked: Conversation, said: Said
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The pieces of a reply, which is in `said` at the end."""
        yield {"role": "assistant", "content": ""}
        native = self._is_read(request)
        if native or request.tool_choice == "none" or not isinstance(self._policy, Streaming):
            said.reply = await self._reply(request, asked)
            message, said.finish_reason = _message(said.reply, native=native)
            calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls", ()))]
            content = {"content": message["content"]} if message["content"] else {}
            yield {**content, **({"tool_calls": calls} if calls else {})}
            return
        async with aclosing(self._policy.stream(asked, seed=request.seed)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    said.reply = piece
                else:
                    yield {"content": piece}
        _, said.finish_reason = _message(said.reply, native=False)

    def _is_read(self, request: ChatRequest) -> bool:
        return bool(request.tools) or not self._as_written

    async def _reply(self, request: ChatRequest, asked: Conversation) -> Reply:
        if request.tool_choice == "none" and isinstance(self._policy, Concluding):
            return await self._policy.conclude(asked, seed=request.seed)
        return await self._policy.reply(asked, seed=request.seed)

    async def _conversation(self, request: ChatRequest, held: Mapping[str, bytes]) -> Conversation:
        # Large images take seconds to be read and hashed: meanwhile others are served.
        found, before = await asyncio.to_thread(self._read, request, held)
        known = self._ids.pop(before, None)
        return found.model_copy(update={"id": known or uuid.uuid4().hex})

    def _read(self, request: ChatRequest, held: Mapping[str, bytes]) -> tuple[Conversation, str]:
        """What is said, and the digest of it up to the policy's last turn."""
        found = conversation(request, held, self._policy, "")
        said = [index for index, message in enumerate(found.messages) if message.role == "assistant"]
        return found, _digest(found.messages[: said[-1] + 1] if said else ())

    @contextmanager
    def _kept(self, asked: Conversation) -> Iterator[None]:
        """What ends the block before its reply was kept, be it that the client left, ends the conversation."""
        try:
            yield
        except BaseException:
            self._policy.forget(asked.id)
            raise

    def _keep(self, asked: Conversation, reply: Reply) -> None:
        answered = Message(role="assistant", parts=(TextPart(text=reply.text),))
        digest = _digest((*asked.messages, answered))
        if (same := self._ids.pop(digest, None)) is not None:  # two that cannot be told apart: the last is gone on with
            self._policy.forget(same)
        self._ids[digest] = asked.id
        while len(self._ids) > KEPT:
            self._policy.forget(self._ids.popitem(last=False)[1])

    def _usage(self, asked: Conversation, reply: Reply) -> dict[str, Any]:
        shown = sum(self._policy.family.tokens(image.view.size) for image in asked.images)
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "image_tokens": shown},
        }


def _message(reply: Reply, *, native: bool) -> tuple[dict[str, Any], str]:
    """The message and its finish reason. `native`: calls are read from the text, and an answer out of its tags."""
    finish_reason = "length" if reply.truncated else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if not native:
        return message, finish_reason
    said, calls = from_text(reply.text)
    message["content"] = said.content.strip() or None
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if calls:
        finish_reason = "tool_calls"
        message["tool_calls"] = [
            {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": {"name": name, "arguments": given}}
            for name, given in said.calls
        ]
    return message, finish_reason


def _digest(messages: tuple[Message, ...]) -> str:
    said = [
        [message.role, message.text, *(f"{i.source.digest} {i.view.model_dump_json()}" for i in message.images)]
        for message in messages
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
