"""A conversation as LangChain's messages, and LangChain's messages as images and texts. No image is lost on the way.

Images travel as LangChain's standard content blocks, which its chat models turn into what their providers take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from ..errors import ImageError
from ..messages import ToolCall
from ..policy import Conversation, ImagePart, Message, TextPart
from ..profiles import Profile
from ..source import Source
from .exchanges import Called, Said, Wrote, exchanges
from .image_bytes import ImageBytes
from .native_calls import NativeReply

Kept = Mapping[tuple[int, str], AIMessage]
"""A provider's own messages, by the number of the model's turn, from 0, and its text."""


def messages(conversation: Conversation, profile: Profile, images: ImageBytes, kept: Kept) -> list[AnyMessage]:
    """The conversation for a chat model: for one that goes on, the messages before, unchanged, and more.

    A turn with calls is the provider's own message where it is `kept`: what is in it beside text and calls, such as
    signed thoughts, has to come back with the results of the calls.
    """
    written: list[AnyMessage] = []
    turn = 0
    for part in exchanges(conversation, native=profile.calls == "native"):
        match part:
            case Said(message):
                make = SystemMessage if message.role == "system" else HumanMessage
                written.append(make(content=_content(message, images)))
            case Wrote(text):
                written.append(AIMessage(content=text))
            case Called(text, reply, calls, ids, results):
                own = kept.get((turn, text))
                turn += 1
                if own is not None and len(own.tool_calls) == len(calls) > 0 and not own.invalid_tool_calls:
                    written.append(own)
                    ids = tuple(call["id"] or "" for call in own.tool_calls)
                else:
                    written.append(_assistant(reply, calls, ids))
                shown = None
                if profile.tool_images == "user":
                    results, shown = part.with_images_below()
                written += [
                    ToolMessage(content=_content(result, images), tool_call_id=id)
                    for id, result in zip(ids, results, strict=True)
                ]
                if shown is not None:
                    written.append(HumanMessage(content=_content(shown, images)))
    return written


def images_of(said: Iterable[BaseMessage]) -> list[Source]:
    """Every image in the messages, in order. Raises `ImageError` for one that is broken, or an address.

    Addresses are not fetched here: who talks in a conversation is seldom who runs the program.
    """
    found: list[Source] = []
    for message in said:
        for block in message.content_blocks:
            if block["type"] != "image":
                continue
            if data := block.get("base64"):
                found.append(Source.open(f"data:{block.get('mime_type', 'image/png')};base64,{data}"))
            elif (url := block.get("url", ""))[:5].lower() == "data:":
                found.append(Source.open(url))
            else:
                where = url or block.get("file_id") or "no data at all"
                raise ImageError(f"an image is given as {where[:100]}: give its bytes (base64, or a data: URI)")
    return found


def _content(message: Message, images: ImageBytes) -> Any:
    if not message.images:
        return message.text
    return [_block(part, images) for part in message.parts]


def _block(part: TextPart | ImagePart, images: ImageBytes) -> dict[str, str]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    return image_block(images.data_uri(part))


def image_block(uri: str) -> dict[str, str]:
    """A base64 `data:` URI as a content block."""
    head, _, data = uri.partition(",")
    return {"type": "image", "base64": data, "mime_type": head.removeprefix("data:").removesuffix(";base64")}


def _assistant(reply: NativeReply, calls: tuple[ToolCall, ...], ids: tuple[str, ...]) -> AIMessage:
    named = [
        {"name": call.name, "args": call.arguments, "id": id, "type": "tool_call"}
        for id, call in zip(ids, calls, strict=True)
    ]
    return AIMessage(content=reply.content, tool_calls=named)
