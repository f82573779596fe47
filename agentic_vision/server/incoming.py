"""What did the client say? Its messages as a question to the agent, or as a conversation for the bare policy."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from ..errors import ConfigError, ImageError
from ..fetch import afetch
from ..image_limits import ImageLimits
from ..policies.native_calls import NativeReply
from ..policy import Conversation, ImagePart, Message, Policy, PromptStyle, TextPart, ToolSpec
from ..prompts import system_text
from ..source import Source
from ..url_rules import UrlRules, is_url
from ..view import View
from .wire import ChatRequest, SentImage, SentMessage

TOGETHER = 2
"""The images of a request have at most so many times the pixels that one may have."""


def question(request: ChatRequest) -> str:
    """The last message of the user; where more was said before it, that comes first."""
    said = [message for message in request.messages if message.role != "tool" and message.text.strip()]
    users = [message for message in said if message.role == "user"]
    if not users:
        return ""
    last = users[-1]
    before = [message for message in said if message is not last]
    if not before:
        return last.text
    told = [message.text for message in before if message.role in ("system", "developer")]
    talk = [
        f"{message.role.capitalize()}: {message.text}" for message in before if message.role in ("user", "assistant")
    ]
    parts = [*told, *(["The conversation so far:", *talk, "Now:"] if talk else []), last.text]
    return "\n\n".join(parts)


async def fetched(request: ChatRequest, rules: UrlRules, max_bytes: int) -> ChatRequest:
    """The request with the images at http(s) URLs in it, as if the client had sent them.

    They have at most `max_bytes` together. Raises `ImageError` for what may not or cannot be fetched.
    """
    found: dict[str, str] = {}
    room = max_bytes
    for url in (image.image_url.url for image in request.images):
        if not is_url(url) or url in found:
            continue
        data = await afetch(url, rules)
        room -= len(data)
        if room < 0:
            raise ImageError(f"the images at the URLs have more than {max_bytes:,} bytes together: send smaller ones")
        found[url] = "data:;base64," + (await asyncio.to_thread(base64.b64encode, data)).decode()
    return request.model_copy(update={"messages": tuple(_held(message, found) for message in request.messages)})


def _held(message: SentMessage, found: Mapping[str, str]) -> SentMessage:
    if not isinstance(message.content, tuple):
        return message
    parts = []
    for part in message.content:
        if isinstance(part, SentImage) and part.image_url.url in found:
            held = part.image_url.model_copy(update={"url": found[part.image_url.url]})
            part = part.model_copy(update={"image_url": held})
        parts.append(part)
    return message.model_copy(update={"content": tuple(parts)})


def sources(request: ChatRequest) -> list[Source]:
    """The images, in order; of each, the header is read and no more.

    Raises `ImageError` for what is none, for addresses of any kind, and where they have too many pixels together.
    """
    found = [_source(image) for image in request.images]
    _check_together(found)
    return found


def conversation(request: ChatRequest, policy: Policy, id: str) -> Conversation:
    """The messages for the bare policy; images at the size at which its family sees all it can.

    The client's tools are told in the policy's own style, before what the client's system prompt says. Raises
    `ImageError` as `sources` does, and `ConfigError` where results and calls do not match.
    """
    tools = tuple(
        ToolSpec(tool.function.name, tool.function.description, tool.function.parameters)
        for tool in request.tools or ()
    )
    messages = [_message(message, policy, native=bool(tools)) for message in _matched(request.messages)]
    _check_together([image.source for message in messages for image in message.images])
    if tools:
        if policy.style is PromptStyle.COMPACT:  # it was trained on that one line, and on no other
            messages = [message for message in messages if message.role != "system"]
        told = system_text(tools, policy.style, reduced=False)
        messages.insert(0, Message(role="system", parts=(TextPart(text=told),)))
    return Conversation(id=id, messages=_one_system(messages), tools=tools)


def _matched(messages: Sequence[SentMessage]) -> Iterator[SentMessage]:
    """The messages, results in the order of the calls that they answer: to policies, their place says which."""
    calls: list[str] = []
    for are_results, group in groupby(messages, lambda message: message.role == "tool"):
        some = list(group)
        if are_results:
            answered = [result.tool_call_id or "" for result in some]
            if sorted(answered) != sorted(calls) and (calls or any(answered)):  # a text protocol has no ids
                raise ConfigError(
                    f"the results of {', '.join(answered)} do not answer the calls before them "
                    f"({', '.join(calls) or 'there are none'}): send one result for every call, with its tool_call_id"
                )
            some.sort(key=lambda result: calls.index(result.tool_call_id or "") if calls else 0)
        yield from some
        calls = [call.id for call in some[-1].tool_calls or ()]


def _one_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Chat templates take one system message at most, at the beginning."""
    system = [message.text for message in messages if message.role == "system"]
    rest = tuple(message for message in messages if message.role != "system")
    if not system:
        return rest
    return Message(role="system", parts=(TextPart(text="\n\n".join(system)),)), *rest


def _message(message: SentMessage, policy: Policy, *, native: bool) -> Message:
    if message.role == "assistant":
        text = message.text
        if native:
            calls = tuple((call.function.name, call.function.arguments) for call in message.tool_calls or ())
            text = NativeReply(message.text, "", calls).text()
        return Message(role="assistant", parts=(TextPart(text=text),))
    parts = tuple(
        _image(part, policy) if isinstance(part, SentImage) else TextPart(text=part.text) for part in message.parts
    )
    role = "system" if message.role == "developer" else message.role
    return Message(role=role, parts=parts)


def _image(part: SentImage, policy: Policy) -> ImagePart:
    source = _source(part)
    return ImagePart(view=View.whole(source.size, policy.family.full(source.size)), source=source)


def _check_together(images: Sequence[Source]) -> None:
    """What is decoded is held until the question is answered: one request must not fill the memory with many images."""
    most = TOGETHER * ImageLimits.current().max_pixels
    pixels = sum(width * height for width, height in (image.size for image in images))
    if pixels > most:
        raise ImageError(
            f"the {len(images)} images have {pixels:,} pixels together, more than {most:,}: send fewer, or smaller ones"
        )


def _source(image: SentImage) -> Source:
    url = image.image_url.url
    if url[:5].lower() != "data:":
        # Neither fetched nor read: a client must not reach the server's network and files through it.
        unless = ", or have the server started with --allow-urls" if is_url(url) else ""
        raise ImageError(f"{url[:100]!r} is no data: URI: send the image itself, data:image/jpeg;base64,...{unless}")
    return Source.open(url)
