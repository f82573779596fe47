"""What a client may send, and what it gets: Chat Completions and Models, as OpenAI writes them.

Fields of a request that are not named here are taken and left unread, as compatible servers do. Beyond OpenAI's own
there is `agentic_vision` in a request (`extra_body` of the openai package), and in a reply.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_MESSAGES = 1000
MAX_IMAGES = 64  # of one request


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _WithNulls(_Sent):
    """What some clients write out whole: null stands for what is not said."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, sent: Any) -> Any:
        if not isinstance(sent, dict):
            return sent
        return {name: value for name, value in sent.items() if value is not None or name not in cls.model_fields}


class SentText(_Sent):
    """Text in a message."""

    type: Literal["text"]
    text: str


class SentImageUrl(_Sent):
    """Where an image is: a `data:` URI, or an http(s) URL."""

    url: str


class SentImage(_Sent):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: SentImageUrl


SentPart = Annotated[SentText | SentImage, Field(discriminator="type")]


class SentFunction(_Sent):
    """What a call of an earlier turn called, its arguments as JSON."""

    name: str
    arguments: str = "{}"


class SentCall(_Sent):
    """A call of an earlier turn."""

    id: str
    function: SentFunction


class SentMessage(_Sent):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[SentPart, ...] | None = None
    tool_calls: tuple[SentCall, ...] | None = None
    tool_call_id: str | None = None

    @property
    def parts(self) -> tuple[SentText | SentImage, ...]:
        """The content in parts."""
        if isinstance(self.content, str):
            return (SentText(type="text", text=self.content),) if self.content else ()
        return self.content or ()

    @property
    def text(self) -> str:
        """The texts of the content, joined."""
        return "\n".join(part.text for part in self.parts if isinstance(part, SentText))


class SentToolFunction(_WithNulls):
    """A tool's name, what it is for, and the JSON schema of its arguments."""

    name: str = Field(min_length=1, max_length=128)
    description: str = ""
    parameters: dict[str, Any] = {}


class SentTool(_Sent):
    """A tool that the client offers."""

    type: Literal["function"]
    function: SentToolFunction


class StreamOptions(_WithNulls):
    """Whether a stream ends with the usage."""

    include_usage: bool = False


class AgentOptions(_WithNulls):
    """`agentic_vision` of a request: whether the trajectory comes back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trajectory: bool = False


class ChatRequest(_WithNulls):
    """A request for a chat completion; what else OpenAI's holds is left unread."""

    messages: tuple[SentMessage, ...] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    seed: int | None = None
    n: Literal[1] | None = None
    tools: tuple[SentTool, ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    agentic_vision: AgentOptions = AgentOptions()

    @property
    def images(self) -> tuple[SentImage, ...]:
        """All images, in order."""
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, SentImage))


@dataclass(frozen=True)
class Completion:
    """One completion, whole or in chunks. `model` is the name under which it is served."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: dict[str, Any], finish_reason: str, usage: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The object `chat.completion`."""
        choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage, **more}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        """The event of a `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def last_chunk(self, usage: dict[str, Any], **more: Any) -> str:
        """The event without choices, in which the usage comes."""
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage, **more})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


END = "data: [DONE]\n\n"


def event(value: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
