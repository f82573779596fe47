"""A conversation as endpoints know it: every observation beside the call that it answers.

Chat Completions and Responses differ in how they write this, not in what is said; both build on `exchanges`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..messages import ToolCall
from ..policy import Conversation, Message, TextPart
from .native_calls import NativeReply, from_text


@dataclass(frozen=True)
class Said:
    """What a user or the system said, also where an observation answers no call: a malformed turn, a text protocol."""

    message: Message


@dataclass(frozen=True)
class Called:
    """A native turn and what came back. `text` is the turn as it was kept, `calls` as the agent read them; `ids` are
    those of its calls, and of the `results`, in order.
    """

    text: str
    reply: NativeReply
    calls: tuple[ToolCall, ...] = ()
    ids: tuple[str, ...] = ()
    results: tuple[Message, ...] = ()

    def with_images_below(self) -> tuple[tuple[Message, ...], Message | None]:
        """The results as texts, for APIs whose results hold no images, and those in a user message that follows."""
        texts = tuple(_told_of_images(result) if result.images else result for result in self.results)
        shown = tuple(part for result in self.results if result.images for part in result.parts)
        return texts, Message(role="user", parts=shown) if shown else None


@dataclass(frozen=True)
class Wrote:
    """A turn in the text protocol, unchanged."""

    text: str


SHOWN_BELOW = "It is shown in the next message."

_NOT_MADE = Message(role="tool", parts=(TextPart(text="This call was not made."),))


def exchanges(conversation: Conversation, *, native: bool) -> Iterator[Said | Called | Wrote]:
    """The conversation in order. `native`: the model's turns are read as function calls."""
    messages = conversation.messages
    number = 0  # of calls so far
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if message.role != "assistant":
            yield Said(message)
        elif not native:
            yield Wrote(message.text)
        else:
            reply, calls = from_text(message.text)
            results = _results(messages[index : index + len(calls)])
            index += len(results)
            # A limit came before they were made: APIs want a result for every call all the same.
            results += (_NOT_MADE,) * (len(calls) - len(results))
            ids = tuple(f"call_{number + place}" for place in range(1, len(calls) + 1))
            number += len(calls)
            yield Called(message.text, reply, calls, ids, results)


def _told_of_images(result: Message) -> Message:
    return Message(role="tool", parts=(TextPart(text=f"{result.text.strip()} {SHOWN_BELOW}".strip()),))


def _results(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(message for message in messages if message.role == "tool")
