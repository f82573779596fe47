"""Which model answers, when it is LangChain's? Any chat model that takes images.

    agent = VisionAgent(LangChainPolicy(ChatAnthropic(model="claude-sonnet-4-5")))

Retries, time-outs and keys are the chat model's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from ..errors import AgenticVisionError, RefusedError
from ..policy import Conversation, Reply
from ..profiles import Profile
from .chat_completions import tools
from .concluding import concluded, told_to_answer
from .endpoint_errors import as_policy_error
from .image_bytes import ImageBytes
from .langchain_messages import messages
from .native_calls import NativeReply
from .profiled import Profiled

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

_CUT = ("length", "max_tokens", "MAX_TOKENS")
_FILTERED = ("content_filter", "refusal", "SAFETY", "guardrail_intervened")


class LangChainPolicy(Profiled):
    """A `Policy` that asks a LangChain chat model."""

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

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        """The next assistant message; LangChain knows no seed. Raises `PolicyError` where the model failed."""
        return await self._whole(conversation)

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        """The answer, with what was seen: tools are withdrawn, and the model is told so."""
        last = told_to_answer(conversation, native=self.profile.calls == "native")
        return concluded(await self._whole(last, tool_choice="none"))

    async def stream(
        self,
        conversation: Conversation,
        *,
        seed: int | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[str | Reply, None]:
        """`reply`, as pieces of its text while they come, and the whole reply at last."""
        said = await asyncio.to_thread(messages, conversation, self.profile, self._images)
        whole: Any = None
        try:
            chunks = cast(AsyncGenerator[Any, None], self._with_tools(conversation).astream(said))
            async with aclosing(chunks):
                async for chunk in chunks:
                    whole = chunk if whole is None else whole + chunk
                    if text := str(chunk.text):
                        yield text
        except AgenticVisionError:
            raise
        except Exception as error:  # each provider's package has its own
            raise as_policy_error(error, self.model) from error
        yield self._reply(whole)

    def forget(self, conversation_id: str) -> None:
        """Nothing is kept: every request holds the whole conversation."""

    async def _whole(self, conversation: Conversation, **binding: Any) -> Reply:
        said = await asyncio.to_thread(messages, conversation, self.profile, self._images)
        try:
            message = await self._with_tools(conversation, **binding).ainvoke(said)
        except AgenticVisionError:
            raise
        except Exception as error:  # each provider's package has its own
            raise as_policy_error(error, self.model) from error
        return self._reply(message)

    def _with_tools(self, conversation: Conversation, **binding: Any) -> Any:
        if self.profile.calls != "native" or not conversation.tools:
            return self.chat_model
        return self.chat_model.bind_tools(tools(conversation), **binding)

    def _reply(self, message: AIMessage) -> Reply:
        ending = message.response_metadata
        reason = str(ending.get("finish_reason") or ending.get("stop_reason") or "")
        if reason in _FILTERED:
            raise RefusedError(f"the model refused ({reason}): ask otherwise, or another model")
        text = str(message.text)
        truncated = reason in _CUT
        if self.profile.calls == "native" and not (truncated and not message.tool_calls):
            calls = [(call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls]
            calls += [(call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
            text = NativeReply(text, _reasoning(message), tuple(calls)).text()
        usage = message.usage_metadata
        return Reply(
            text=text,
            input_tokens=usage["input_tokens"] if usage else 0,
            cached_tokens=usage.get("input_token_details", {}).get("cache_read", 0) if usage else 0,
            output_tokens=usage["output_tokens"] if usage else 0,
            truncated=truncated,
        )


def _reasoning(message: AIMessage) -> str:
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "\n".join(str(block.get("reasoning", "")) for block in blocks)
