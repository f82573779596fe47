"""What produces the next turn: the `Policy` protocol, and the conversation that it is given.

A policy gets a `Conversation` and gives back raw text; `protocol.parse` makes a `Turn` of it. From one call
to the next with the same `Conversation.id`, messages are only ever appended, and an assistant message is the
raw reply, unchanged: a policy may keep its KV cache and encode only what is new.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .source import Source
from .view import View
from .visual_tokens import Family
from .whole_text import whole

if TYPE_CHECKING:
    from PIL import Image


class PromptStyle(StrEnum):
    """How a policy is told of its tools.

    TEXT: a system prompt with the protocol and the tools' schemas, and a line before every further image.
    NATIVE: the same without protocol and schemas, for models that call functions their own way; the policy writes
    what they say in the text protocol.
    COMPACT: `Tools: zoom_crop, full_res.` and nothing else, for small checkpoints trained on it.
    """

    TEXT = "text"
    NATIVE = "native"
    COMPACT = "compact"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class TextPart(_Value):
    """Text of a message."""

    text: str


class ImagePart(_Value):
    """An image of a message: a recipe and the source to cook it from. Only `render` makes pixels."""

    view: View
    source: Source = Field(exclude=True, repr=False)

    def render(self) -> Image.Image:
        """RGB pixels of exactly `view.size`; rendered anew each time, always the same bytes."""
        return self.view.render(self.source)


class Message(_Value):
    """One message. Role `tool` carries what came back; templates without that role render it as `user`."""

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[TextPart | ImagePart, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The image parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


@dataclass(frozen=True)
class ToolSpec:
    """What a policy is told of a tool: `schema` is the JSON schema of its arguments (an object).

    A dataclass, because pydantic's models already have a `schema`.
    """

    name: str
    description: str
    schema: dict[str, Any]


class Conversation(_Value):
    """All that was said so far. `id` is the key under which a policy may keep a cache until `forget(id)`."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """Every image shown so far, in order of appearance."""
        return tuple(image for message in self.messages for image in message.images)


class Reply(_Value):
    """Raw model text. Token counts are 0 where unknown; `truncated` says that a length limit cut the text.

    `cached_tokens`: those of the input that were not computed anew; `image_tokens`: those that are the images', None
    where the model's server does not tell them apart.
    """

    text: Annotated[str, AfterValidator(whole)]
    input_tokens: int = 0
    cached_tokens: int = 0
    image_tokens: int | None = None
    output_tokens: int = 0
    truncated: bool = False


@runtime_checkable
class Policy(Protocol):
    """Whatever produces the next turn: an endpoint, local weights, a script, verl's rollout server."""

    @property
    def family(self) -> Family:
        """The visual-token arithmetic and coordinates of the model."""
        ...

    @property
    def style(self) -> PromptStyle:
        """How the model is told of its tools."""
        ...

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The next assistant message. Raises `PolicyError` where the endpoint or the weights failed."""
        ...

    def forget(self, conversation_id: str) -> None:
        """The conversation is over: free what was kept for it. Unknown ids are fine."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """A policy that can be made to answer: it is asked to where a limit would leave the question without one."""

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """As `reply`, but no tool may be called: the answer, with what was seen."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A policy that can be heard while it speaks."""

    def stream(self, conversation: Conversation, *, seed: int | None = None) -> AsyncGenerator[str | Reply, None]:
        """`reply`, as pieces of its text while they come, and the whole reply at last."""
        ...
