"""The wire of OpenAI's Chat Completions: a conversation as its messages, its completion as a reply.

Its messages of role `tool` hold text alone, by OpenAI's own types; what a tool shows follows in a user message, after
all results of the turn, in their order. Servers that take images in a tool message (vLLM, ours) get them there, where
the profile says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..endpoint import BrokenStreamError, checked, each_in_time, in_time, shortened
from ..errors import PolicyError, RefusedError
from ..policy import Conversation, ImagePart, Message, Reply, TextPart
from .exchanges import Called, Said, Wrote, exchanges
from .image_bytes import ImageBytes
from .native_calls import NativeReply
from .reported_usage import count

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

    from ..profiles import Profile


@dataclass(frozen=True)
class ChatCompletions:
    """The requests, and what is said in their replies.

    `more`: further fields of every request. `timeout`: seconds for a reply, and for each piece of one that is streamed.
    """

    model: str
    profile: Profile
    images: ImageBytes
    temperature: float | None
    max_new_tokens: int | None
    more: dict[str, Any]
    timeout: float

    async def ask(
        self, client: AsyncOpenAI, conversation: Conversation, seed: int | None, *, must_answer: bool = False
    ) -> Reply:
        """The reply, at once. Raises what `reply` and `checked` raise, and openai's errors."""
        request = await asyncio.to_thread(self.request, conversation, seed, must_answer=must_answer)
        async with in_time(self.timeout):
            completion = await client.chat.completions.create(**request)
        return reply(checked(completion), self.profile)

    async def listen(
        self, client: AsyncOpenAI, conversation: Conversation, seed: int | None
    ) -> AsyncGenerator[str | Reply, None]:
        """The reply in pieces, and whole at last. Raises `BrokenStreamError` where the stream ends early."""
        from openai.lib.streaming.chat import ChatCompletionStreamState

        request = await asyncio.to_thread(self.request, conversation, seed)
        state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
        finished = False
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        async with in_time(self.timeout):
            stream = await client.chat.completions.create(**request)
        async with stream:
            async for chunk in each_in_time(aiter(stream), self.timeout):
                state.handle_chunk(chunk)
                for choice in chunk.choices:
                    finished = finished or choice.finish_reason is not None
                    if choice.delta.content:
                        yield choice.delta.content
        if not finished:
            raise BrokenStreamError("it ended without a finish_reason")
        # Not `get_final_completion`, which raises where the reply was cut or filtered: `reply` knows what that means.
        yield reply(state.current_completion_snapshot, self.profile)

    def request(self, conversation: Conversation, seed: int | None, *, must_answer: bool = False) -> dict[str, Any]:
        """The fields of a request. The images of `conversation` are drawn and encoded here."""
        fields: dict[str, Any] = {"model": self.model, "messages": messages(conversation, self.profile, self.images)}
        if self.profile.calls == "native" and conversation.tools:
            fields["tools"] = tools(conversation)
            if must_answer:  # not left out: they are part of the prefix that is cached
                fields["tool_choice"] = "none"
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        if self.max_new_tokens is not None:
            fields[self.profile.max_tokens] = self.max_new_tokens
        if seed is not None:
            fields["seed"] = seed
        return {**fields, **self.more}

    def forget(self, conversation_id: str) -> None:
        """Nothing is kept: every request holds the whole conversation."""


def messages(conversation: Conversation, profile: Profile, images: ImageBytes) -> list[dict[str, Any]]:
    """The request's `messages`: for a conversation that goes on, those before and more, byte for byte."""
    written: list[dict[str, Any]] = []
    for part in exchanges(conversation, native=profile.calls == "native"):
        match part:
            case Said(message):
                role = "user" if message.role == "tool" else message.role
                written.append({"role": role, "content": _content(message, profile, images)})
            case Wrote(text):
                written.append({"role": "assistant", "content": text})
            case Called(reply=reply, ids=ids, results=results):
                written.append(_assistant(reply, ids, profile))
                shown = None
                if profile.tool_images == "user":
                    results, shown = part.with_images_below()
                written += [
                    {"role": "tool", "tool_call_id": id, "content": _content(result, profile, images)}
                    for id, result in zip(ids, results, strict=True)
                ]
                if shown is not None:
                    written.append({"role": "user", "content": _content(shown, profile, images)})
    return written


def tools(conversation: Conversation) -> list[dict[str, Any]]:
    """The request's `tools`."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
        }
        for tool in conversation.tools
    ]


def reply(completion: ChatCompletion, profile: Profile) -> Reply:
    """What the model said, in the text protocol.

    Raises `RefusedError` where the model or a filter refused, `PolicyError` for what is no chat completion.
    """
    try:
        choice = completion.choices[0]
        message = choice.message
        content = message.content or ""
        refusal = message.refusal or ""
        calls = tuple(
            (call.function.name, call.function.arguments or "")
            for call in message.tool_calls or ()
            if call.type == "function"
        )
    except (AttributeError, IndexError, TypeError) as error:
        raise PolicyError(
            "the endpoint sent no chat completion: does base_url end where /chat/completions begins (often in /v1)?"
        ) from error
    if choice.finish_reason == "content_filter" or refusal:
        raise RefusedError(
            f"the model refused ({shortened(refusal) or 'a content filter'}): ask otherwise, or another model"
        )
    truncated = choice.finish_reason == "length"
    if profile.calls == "native":
        reasoning = getattr(message, profile.reasoning, None) if profile.reasoning else None
        native = NativeReply(content, reasoning if isinstance(reasoning, str) else "", calls)
        text = content if truncated and not calls else native.text()
    else:
        text = content
    usage = completion.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return Reply(
        text=text,
        input_tokens=count(usage, "prompt_tokens"),
        cached_tokens=count(details, "cached_tokens"),
        image_tokens=getattr(details, "image_tokens", None),
        output_tokens=count(usage, "completion_tokens"),
        truncated=truncated,
    )


def _assistant(reply: NativeReply, ids: tuple[str, ...], profile: Profile) -> dict[str, Any]:
    # Without calls a turn has to have a content: OpenAI takes an empty one, and no null.
    message: dict[str, Any] = {"role": "assistant", "content": reply.content or (None if ids else "")}
    if profile.reasoning and reply.reasoning:  # models that think between calls expect their thoughts back
        message[profile.reasoning] = reply.reasoning
    if ids:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": given}}
            for id, (name, given) in zip(ids, reply.calls, strict=True)
        ]
    return message


def _content(message: Message, profile: Profile, images: ImageBytes) -> Any:
    if not message.images:
        return message.text
    return [_part(part, profile, images) for part in message.parts]


def _part(part: TextPart | ImagePart, profile: Profile, images: ImageBytes) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": images.data_uri(part)}
    if profile.detail:
        image["detail"] = profile.detail
    return {"type": "image_url", "image_url": image}
