"""The wire of OpenAI's Responses: a conversation as its input items, its response as a reply.

What a call brings back may hold images here. Where the endpoint stores responses, a later turn names the one before
(`previous_response_id`) and sends what is new alone: image bytes travel once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai

from ..endpoint import BrokenStreamError, RefusalInReplyError, each_in_time, in_time, shortened
from ..errors import PolicyError, RefusedError
from ..policy import Conversation, ImagePart, Message, Reply, TextPart
from .exchanges import Called, Said, Wrote, exchanges
from .image_bytes import ImageBytes
from .latest import Latest
from .native_calls import NativeReply
from .reported_usage import count

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.responses import Response

    from ..profiles import Profile


@dataclass(frozen=True)
class _Stored:
    """What the endpoint has stored of a conversation: `groups` of its input, the last one under `response_id`."""

    response_id: str
    groups: int
    call_ids: tuple[str, ...]


@dataclass(frozen=True)
class Responses:
    """The requests, and what is said in their replies.

    `more`: further fields of every request. `timeout`: seconds for a reply, and for each piece of one that is streamed.
    With `{"store": False}` among them nothing stays at the endpoint, and every request holds the whole conversation.
    """

    model: str
    profile: Profile
    images: ImageBytes
    temperature: float | None
    max_new_tokens: int | None
    more: dict[str, Any]
    timeout: float
    _stored: Latest[_Stored] = field(default_factory=Latest)

    async def ask(
        self, client: AsyncOpenAI, conversation: Conversation, seed: int | None, *, must_answer: bool = False
    ) -> Reply:
        """The reply, at once. Raises what `reply` raises, and openai's errors."""
        fields, groups = await asyncio.to_thread(self._request, conversation, must_answer=must_answer)
        try:
            async with in_time(self.timeout):
                response = await client.responses.create(**fields)
        except (openai.NotFoundError, openai.BadRequestError):
            if self._stored.pop(conversation.id, None) is None:
                raise
            # The endpoint does not know the response any more, or stores none: everything is sent again.
            return await self.ask(client, conversation, seed, must_answer=must_answer)
        return self._noted(conversation, response, groups)

    async def listen(
        self,
        client: AsyncOpenAI,
        conversation: Conversation,
        seed: int | None,
    ) -> AsyncGenerator[str | Reply, None]:
        """The reply in pieces, and whole at last. Raises `BrokenStreamError` where the stream ends early."""
        fields, groups = await asyncio.to_thread(self._request, conversation)
        try:
            async with in_time(self.timeout):
                stream = await client.responses.create(**fields, stream=True)
        except (openai.NotFoundError, openai.BadRequestError):
            if self._stored.pop(conversation.id, None) is None:
                raise
            async with aclosing(self.listen(client, conversation, seed)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        async with stream:
            async for event in each_in_time(aiter(stream), self.timeout):
                match event.type:
                    case "response.output_text.delta":
                        yield event.delta
                    case "response.completed" | "response.incomplete" | "response.failed":
                        yield self._noted(conversation, event.response, groups)
                        return
                    case "error":
                        raise RefusalInReplyError(str(event.message), event.code)
        raise BrokenStreamError("it ended before the response was completed")

    def forget(self, conversation_id: str) -> None:
        """Drop what is known to be stored. (The endpoint deletes it in its own time.)"""
        self._stored.pop(conversation_id, None)

    def _request(self, conversation: Conversation, *, must_answer: bool = False) -> tuple[dict[str, Any], int]:
        """The fields of a request, and how many groups of input it covers."""
        groups = items(conversation, self.profile, self.images)
        fields: dict[str, Any] = {"model": self.model}
        stored = self._stored.get(conversation.id)
        if stored is not None and _goes_on(stored, groups):
            new = [item for group in groups[stored.groups :] for item in group]
            ids = iter(stored.call_ids)
            fields["previous_response_id"] = stored.response_id
            fields["input"] = [{**item, "call_id": next(ids)} if "call_id" in item else item for item in new]
        else:
            fields["input"] = [item for group in groups for item in group]
        if self.profile.calls == "native" and conversation.tools:
            fields["tools"] = tools(conversation)
            if must_answer:  # not left out: they are part of the prefix that is cached
                fields["tool_choice"] = "none"
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        if self.max_new_tokens is not None:
            fields["max_output_tokens"] = self.max_new_tokens
        return {**fields, **self.more}, len(groups)

    def _noted(self, conversation: Conversation, response: Response, groups: int) -> Reply:
        said = reply(response, self.profile)
        if self.more.get("store", True) and isinstance(response.id, str) and response.id:
            self._stored[conversation.id] = _Stored(response.id, groups + 1, call_ids(response))
        return said


def _goes_on(stored: _Stored, groups: list[list[dict[str, Any]]]) -> bool:
    """Whether what is new answers just the calls of the stored response."""
    new = [item for group in groups[stored.groups :] for item in group]
    answered = sum(item["type"] == "function_call_output" for item in new)
    return bool(new) and answered == len(stored.call_ids) and not any(i["type"] == "function_call" for i in new)


def items(conversation: Conversation, profile: Profile, images: ImageBytes) -> list[list[dict[str, Any]]]:
    """The request's `input`, in groups: what was said to the model, and what the model said, in turns.

    A response stands for the group that it is, and all groups before it. Concatenated they are the whole input; for a
    conversation that goes on, what was there before and more, byte for byte.
    """
    groups: list[list[dict[str, Any]]] = [[]]
    for part in exchanges(conversation, native=profile.calls == "native"):
        match part:
            case Said(message):
                role = "user" if message.role == "tool" else message.role
                groups[-1].append({"type": "message", "role": role, "content": _content(message, profile, images)})
            case Wrote(text):
                groups += [[_assistant(text)], []]
            case Called(reply=reply, ids=ids, results=results):
                said = [_assistant(reply.content)] if reply.content else []
                calls = [
                    {"type": "function_call", "call_id": id, "name": name, "arguments": given}
                    for id, (name, given) in zip(ids, reply.calls, strict=True)
                ]
                back = [
                    {"type": "function_call_output", "call_id": id, "output": _content(result, profile, images)}
                    for id, result in zip(ids, results, strict=True)
                ]
                groups += [[*said, *calls], back]
    return groups


def tools(conversation: Conversation) -> list[dict[str, Any]]:
    """The request's `tools`."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.schema,
            "strict": False,
        }
        for tool in conversation.tools
    ]


def reply(response: Response, profile: Profile) -> Reply:
    """What the model said, in the text protocol.

    Raises `RefusedError` where the model or a filter refused, `RefusalInReplyError` for a failed response and
    `PolicyError` for what is none.
    """
    try:
        said, refused, reasoning, calls = _said(response)
        cut = response.incomplete_details.reason if response.incomplete_details else None
        failed = response.error
    except (AttributeError, TypeError) as error:
        raise PolicyError(
            "the endpoint sent no response: does base_url end where /responses begins (often in /v1), and does the "
            "endpoint have the Responses API? If not: api='chat'"
        ) from error
    if failed is not None or response.status == "failed":
        code, words = getattr(failed, "code", None), getattr(failed, "message", None)
        raise RefusalInReplyError(str(words or failed or "it failed, and does not say how"), code)
    if refused or cut == "content_filter":
        raise RefusedError(
            f"the model refused ({shortened(refused) or 'a content filter'}): ask otherwise, or another model"
        )
    truncated = cut == "max_output_tokens"
    native = profile.calls == "native" and not (truncated and not calls)
    usage = response.usage
    return Reply(
        text=NativeReply(said, reasoning, calls).text() if native else said,
        input_tokens=count(usage, "input_tokens"),
        cached_tokens=count(getattr(usage, "input_tokens_details", None), "cached_tokens"),
        output_tokens=count(usage, "output_tokens"),
        truncated=truncated,
    )


def call_ids(response: Response) -> tuple[str, ...]:
    """The ids that the endpoint gave to the calls of a response, in order."""
    return tuple(item.call_id for item in response.output if item.type == "function_call")


def _said(response: Response) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    """Text, refusal, summary of the reasoning, and calls."""
    said, refused, reasoning, calls = "", "", "", []
    for item in response.output:
        if item.type == "message":
            for content in item.content:
                if content.type == "output_text":
                    said += content.text
                elif content.type == "refusal":
                    refused += content.refusal
        elif item.type == "function_call":
            calls.append((item.name, item.arguments))
        elif item.type == "reasoning":
            reasoning += "\n".join(part.text for part in item.summary or ())
    return said, refused, reasoning, tuple(calls)


def _assistant(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text}


def _content(message: Message, profile: Profile, images: ImageBytes) -> Any:
    if not message.images:
        return message.text
    return [_part(part, profile, images) for part in message.parts]


def _part(part: TextPart | ImagePart, profile: Profile, images: ImageBytes) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": images.data_uri(part), "detail": profile.detail or "auto"}
