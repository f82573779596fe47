"""Which model answers, when it is LangChain's? Any chat model that takes images.

    agent = VisionAgent(LangChainPolicy(ChatAnthropic(model="claude-sonnet-4-5")))

Retries, time-outs and keys are the chat model's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message

from ..endpoint import OVERLOADED, line, status_of, tell_of_overload
from ..errors import AgenticVisionError, PolicyError, RefusedError
from ..policy import Conversation, Reply
from ..profiles import Profile
from ..whole_text import WholePieces
from .chat_completions import tools
from .concluding import concluded, told_to_answer
from .endpoint_errors import known_error
from .image_bytes import ImageBytes
from .langchain_calls import ChatModelCalls
from .langchain_messages import messages
from .latest import Latest
from .native_calls import NativeReply
from .profiled import Profiled

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AnyMessage

# Providers name the field after their own APIs, and what is in it: OpenAI, Anthropic, Bedrock, Ollama, Google.
_ENDINGS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
_CUT = {"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"}
_FILTERED = {"content_filter", "content_filtered", "refusal", "guardrail_intervened"}
_FILTERED |= {"safety", "prohibited_content", "blocklist", "spii", "recitation"}


class LangChainPolicy(Profiled):
    """A `Policy` that asks a LangChain chat model."""

    provider = "langchain"  # as telemetry names it

    def __init__(
        self,
        model: BaseChatModel,
        *,
        profile: Profile | Mapping[str, Any] | None = None,
        image_quality: int | None = 90,
    ) -> None:
        """`profile`: what is known of the model, or single fields that you know better than its name tells.

        `image_quality`: of JPEG, 1 to 100; None sends PNG, without any loss.
        """
        self.chat_model = model
        named = [getattr(model, field, "") for field in ("model_name", "model", "model_id")]
        super().__init__(str(next(filter(None, named), type(model).__name__)), profile)
        self._images = ImageBytes(image_quality)
        self._calls = ChatModelCalls()
        self._kept: Latest[dict[tuple[int, str], AIMessage]] = Latest()

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        """The next assistant message; LangChain knows no seed. Raises `PolicyError` where the model failed."""
        return await self._whole(conversation)

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        """The answer, with what was seen: tools are withdrawn, and the model is told so."""
        last = told_to_answer(conversation, native=self.profile.calls == "native")
        return concluded(await self._whole(last, must_answer=True))

    async def stream(
        self,
        conversation: Conversation,
        *,
        seed: int | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[str | Reply, None]:
        """`reply`, as pieces of its text while they come, and the whole reply at last."""
        said = await self._messages(conversation)
        whole: Any = None
        in_pieces = WholePieces()
        with self._typed():
            async with aclosing(self._calls.stream(self._with_tools(conversation), said)) as chunks:
                async for chunk in chunks:
                    whole = chunk if whole is None else whole + chunk
                    if text := in_pieces(str(chunk.text)):
                        yield text
            reply = self._noted(conversation, whole)
        yield reply

    def forget(self, conversation_id: str) -> None:
        """Drop the chat model's own messages of a conversation that is over."""
        self._kept.pop(conversation_id, None)

    async def _whole(self, conversation: Conversation, *, must_answer: bool = False) -> Reply:
        said = await self._messages(conversation)
        with self._typed():
            message = await self._calls.invoke(self._with_tools(conversation, must_answer=must_answer), said)
            return self._noted(conversation, message)

    async def _messages(self, conversation: Conversation) -> list[AnyMessage]:
        kept = self._kept.get(conversation.id, {})
        return await asyncio.to_thread(messages, conversation, self.profile, self._images, kept)

    def _noted(self, conversation: Conversation, message: AIMessage) -> Reply:
        """The reply that a message is. One with calls is kept, for its turn to be repeated as it was."""
        reply = self._reply(message)
        if self.profile.calls == "native" and message.tool_calls:
            turn = sum(said.role == "assistant" for said in conversation.messages)
            own = cast(AIMessage, message_chunk_to_message(message)) if isinstance(message, AIMessageChunk) else message
            self._kept[conversation.id] = {**self._kept.get(conversation.id, {}), (turn, reply.text): own}
        return reply

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Whatever the chat model raises leaves as a `PolicyError`, an overload being told of."""
        try:
            yield
        except AgenticVisionError:
            raise
        except Exception as error:  # each provider's package has its own
            told = _with_status(error)
            if status_of(told) in OVERLOADED:
                tell_of_overload()
            known = known_error(told, self.model, "give the chat model its provider's key")
            said = ": ".join(filter(None, (type(error).__name__, line(error))))
            raise known or PolicyError(f"the chat model failed ({said})") from error

    def _with_tools(self, conversation: Conversation, *, must_answer: bool = False) -> Any:
        if self.profile.calls != "native" or not conversation.tools:
            return self.chat_model
        # Bound when they must not be called, too: they are part of the prefix that is cached, and some APIs take no
        # conversation with calls in it without them.
        bind, specs = self.chat_model.bind_tools, tools(conversation)
        match _auto(bind, specs) if must_answer else None:
            case "auto":
                return bind(specs, tool_choice="none")
            case {"type": "auto"}:
                return bind(specs, tool_choice={"type": "none"})  # type: ignore[arg-type]
            case _:
                return bind(specs)

    def _reply(self, message: AIMessage) -> Reply:
        reason = _reason(message)
        if reason in _FILTERED:
            raise RefusedError(f"the model refused ({reason}): ask otherwise, or another model")
        text = str(message.text)
        truncated = reason in _CUT
        if self.profile.calls == "native" and not (truncated and not message.tool_calls):
            calls = [(call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls]
            calls += [(call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
            text = NativeReply(text, _reasoning(message), tuple(calls)).text()
        usage: Mapping[str, Any] = message.usage_metadata or {}
        return Reply(
            text=text,
            input_tokens=usage.get("input_tokens") or 0,
            cached_tokens=(usage.get("input_token_details") or {}).get("cache_read") or 0,
            output_tokens=usage.get("output_tokens") or 0,
            truncated=truncated,
        )


def _with_status(error: Exception) -> Exception:
    """The error itself, or the one of a provider's package that it hides and that knows its HTTP status."""
    hidden = error.__cause__
    return hidden if isinstance(hidden, Exception) and status_of(error) is None and status_of(hidden) else error


def _auto(bind: Callable[..., Any], specs: list[dict[str, Any]]) -> Any:
    """What the chat model's class makes of the choice "auto", which tells how its provider writes "none".

    Asked for "none" itself, those that do not know the word would make the model call a tool of that name.
    """
    try:
        return getattr(bind(specs, tool_choice="auto"), "kwargs", {}).get("tool_choice")
    except (TypeError, ValueError):  # it takes no choice
        return None


def _reason(message: AIMessage) -> str:
    """Why the reply ended, in small letters; empty where the provider does not tell."""
    ending = message.response_metadata
    told = [ending.get(name) for name in _ENDINGS]
    told.append((ending.get("incomplete_details") or {}).get("reason"))  # OpenAI's Responses
    return str(next(filter(None, told), "")).lower()


def _reasoning(message: AIMessage) -> str:
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "\n".join(str(block.get("reasoning", "")) for block in blocks)
