"""What did the client say? Its messages as a question to the agent, or as a conversation for the bare policy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from starlette.requests import Request

from ..errors import ConfigError, ImageError
from ..fetch import LONGEST_LABEL, afetch
from ..image_limits import ImageLimits
from ..policies.native_calls import NativeReply
from ..policy import Conversation, ImagePart, Message, Policy, PromptStyle, TextPart, ToolSpec
from ..prompts import system_text
from ..source import Source
from ..url_rules import UrlRules, is_url
from ..view import View
from .errors import HttpError
from .wire import ChatRequest, SentImage, SentMessage, error

AT_ONCE = 4  # images of a request that are fetched at a time
TOGETHER = 2
"""The images of a request have at most so many times the pixels that one may have."""


async def body(request: Request, max_bytes: int) -> bytes:
    """What is uploaded. Raises `HttpError` (413) where it is more than `max_bytes`, if it says so before it comes."""
    too_large = HttpError(
        413, error(f"the request has more than {max_bytes:,} bytes: send less", "invalid_request_error")
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise too_large
    return b"".join(pieces)


def question(request: ChatRequest) -> str:
    """What the user said last; where more was said before it, that comes first.

    Where the user sent an image and no words, the system's are the question.
    """
    said = [message for message in request.messages if message.role != "tool"]
    last = max((at for at, message in enumerate(said) if message.role == "user"), default=-1)
    first = max((at + 1 for at in range(last) if said[at].role == "assistant"), default=0)
    asked = [at for at in range(first, last + 1) if said[at].role == "user" and said[at].text.strip()]
    told = [message.text for message in said if message.role in ("system", "developer") and message.text.strip()]
    talk = [
        f"{message.role.capitalize()}: {message.text}"
        for at, message in enumerate(said)
        if message.role in ("user", "assistant") and message.text.strip() and at not in asked[-1:]
    ]
    before = ["The conversation so far:", *talk, "Now:"] if talk else []
    if asked:
        return "\n\n".join([*told, *before, said[asked[-1]].text])
    return "\n\n".join([*before, *told]) if told and last >= 0 else ""


async def fetched(request: ChatRequest, rules: UrlRules, max_bytes: int) -> dict[str, bytes]:
    """The images at http(s) URLs in a request, by URL.

    They have at most `max_bytes` together. Raises `ImageError` for what may not or cannot be fetched.
    """
    held: dict[str, bytes] = {}
    some, room = asyncio.Semaphore(AT_ONCE), max_bytes

    async def fetch(url: str) -> None:
        nonlocal room
        async with some:
            data = await afetch(url, rules)
        room -= len(data)
        if room < 0:
            raise ImageError(f"the images at the URLs have more than {max_bytes:,} bytes together: send smaller ones")
        held[url] = data

    try:
        async with asyncio.TaskGroup() as fetching:
            for url in dict.fromkeys(image.image_url.url for image in request.images):
                if is_url(url):
                    fetching.create_task(fetch(url))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return held


def sources(request: ChatRequest, held: Mapping[str, bytes]) -> list[Source]:
    """The images, in order, hashed; `held` are those at URLs. Of each, the header is read and no more is decoded.

    Raises `ImageError` for what is none, for addresses of any other kind, and where they have too many pixels together.
    """
    found = [_source(image, held) for image in request.images]
    _check_together(found)
    return _hashed(found)


def conversation(request: ChatRequest, held: Mapping[str, bytes], policy: Policy, id: str) -> Conversation:
    """The messages for the bare policy; images at the size at which its family sees all it can.

    The client's tools are told in the policy's own style, before what the client's system prompt says. Raises
    `ImageError` as `sources` does, and `ConfigError` where results and calls do not match.
    """
    tools = tuple(
        ToolSpec(tool.function.name, tool.function.description, tool.function.parameters)
        for tool in request.tools or ()
    )
    messages = [_message(message, held, policy, native=bool(tools)) for message in _matched(request.messages)]
    images = [image.source for message in messages for image in message.images]
    _check_together(images)
    _hashed(images)
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


def _message(message: SentMessage, held: Mapping[str, bytes], policy: Policy, *, native: bool) -> Message:
    if message.role == "assistant":
        text = message.text
        if native:
            calls = tuple((call.function.name, call.function.arguments) for call in message.tool_calls or ())
            text = NativeReply(message.text, "", calls).text()
        return Message(role="assistant", parts=(TextPart(text=text),))
    parts = tuple(
        _image(part, held, policy) if isinstance(part, SentImage) else TextPart(text=part.text)
        for part in message.parts
    )
    role = "system" if message.role == "developer" else message.role
    return Message(role=role, parts=parts)


def _image(part: SentImage, held: Mapping[str, bytes], policy: Policy) -> ImagePart:
    source = _source(part, held)
    return ImagePart(view=View.whole(source.size, policy.family.full(source.size)), source=source)


def _check_together(images: Sequence[Source]) -> None:
    """What is decoded is held until the question is answered: one request must not fill the memory with many images."""
    most = TOGETHER * ImageLimits.current().max_pixels
    pixels = sum(width * height for width, height in (image.size for image in images))
    if pixels > most:
        raise ImageError(
            f"the {len(images)} images have {pixels:,} pixels together, more than {most:,}: send fewer, or smaller ones"
        )


def _hashed(images: list[Source]) -> list[Source]:
    """The images, which keep their digests: hashed in the thread that reads them, and not in the server's own."""
    for image in images:
        hash(image.digest)
    return images


def _source(image: SentImage, held: Mapping[str, bytes]) -> Source:
    url = image.image_url.url
    if url in held:
        ImageLimits.current().check_bytes(url[:LONGEST_LABEL], len(held[url]))
        return Source(url, held[url])
    if url[:5].lower() != "data:":
        # Neither fetched nor read: a client must not reach the server's network and files through it.
        unless = ", or have the server started with --allow-urls" if is_url(url) else ""
        raise ImageError(f"{url[:100]!r} is no data: URI: send the image itself, data:image/jpeg;base64,...{unless}")
    return Source.open(url)
