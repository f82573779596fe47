"""Which model answers, when it is behind an endpoint? Any OpenAI-compatible one, by Chat Completions or Responses.

    agent = VisionAgent(OpenAIPolicy("gpt-5-mini"))                             # OPENAI_API_KEY
    agent = VisionAgent("qwen3-vl-8b", base_url="http://localhost:8000/v1")     # vLLM, SGLang, llama.cpp, ...
    agent = VisionAgent(OpenAIPolicy("gpt-5-mini", api="responses", image_quality=80))

What passes is asked again, within `patience`, after what the endpoint's Retry-After says; what would fail again is not.
A question that is given up (a deadline, Ctrl-C) closes its connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

from ..endpoint import PerLoop, attempts, client
from ..errors import AgenticVisionError, ConfigError
from ..policy import Conversation, Reply
from ..profiles import Profile
from ..whole_text import WholePieces
from .chat_completions import ChatCompletions
from .concluding import concluded, told_to_answer
from .endpoint_errors import as_policy_error
from .image_bytes import ImageBytes
from .profiled import Profiled
from .reported_usage import ReportedUsage
from .responses_api import Responses

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAIPolicy(Profiled):
    """A `Policy` that asks an endpoint. It may be used from several event loops, and be pickled."""

    provider = "openai"  # as telemetry names it, which goes by the API and not by who serves it

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        api: Literal["chat", "responses"] = "chat",
        profile: Profile | Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        image_quality: int | None = 90,
        timeout: float = 120.0,
        patience: float = 180.0,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        """`base_url`, `api_key`: as of the openai package (its environment variables where None).

        `profile`: what is known of the model, or single fields that you know better than its name tells (a mapping).
        `temperature`, `max_new_tokens`: None leaves them to the endpoint. `image_quality`: of JPEG, 1 to 100;
        None sends PNG, without any loss.
        `timeout`: seconds a request; of a stream, for each of its pieces. `patience`: seconds a turn, for an endpoint
        that is down or overloaded.
        `request`: further fields of every request.

        Raises `ConfigError` for settings that cannot be, and where there is no key.
        """
        if not model or timeout <= 0 or patience < 0 or (max_new_tokens is not None and max_new_tokens < 1):
            raise ConfigError("an endpoint needs a model's name, times above 0, and max_new_tokens of 1 or more")
        if api not in ("chat", "responses"):
            raise ConfigError(f"api={api!r}: choose 'chat' or 'responses'")
        super().__init__(model, profile)
        self.base_url, self.api_key = base_url, api_key
        self.timeout, self.patience = timeout, patience
        self._wire = (ChatCompletions if api == "chat" else Responses)(
            model=model,
            profile=self.profile,
            images=ImageBytes(image_quality),
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            more=dict(request or {}),
            timeout=timeout,
        )
        self._usage = ReportedUsage(self.profile)
        self._clients = PerLoop(self._client)
        self._client()  # a missing key is told now, not with the first question

    @property
    def settings(self) -> dict[str, Any]:
        """What decides over its replies, beside the model: JSON, to be stored with them."""
        known = {name: getattr(self.profile, name) for name in ("calls", "style", "tool_images", "detail", "reasoning")}
        return {
            "family": repr(self.family),
            **known,
            "temperature": self._wire.temperature,
            "max_new_tokens": self._wire.max_new_tokens,
            "image_quality": self._wire.images.quality,
            "request": self._wire.more,
        }

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The next assistant message. `seed` is sent where the API takes one: Chat Completions do, Responses do not.

        Raises `PolicyError`: `MisconfiguredError` where no question can succeed (key, model, no vision),
        `RefusedError` for a content filter, `ContextFullError` for too long a conversation.
        """
        return await self._whole(conversation, seed, must_answer=False)

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The answer, with what was seen: tools are withdrawn, and the model is told so."""
        last = told_to_answer(conversation, native=self.profile.calls == "native")
        return concluded(await self._whole(last, seed, must_answer=True))

    async def stream(self, conversation: Conversation, *, seed: int | None = None) -> AsyncGenerator[str | Reply, None]:
        """`reply`, as pieces of its text while they come, and the whole reply at last.

        A stream that breaks off is asked for again only while nothing of it was handed out.
        """
        begun = False
        try:
            async for attempt in attempts(self.patience):
                with attempt:
                    whole = WholePieces()
                    try:
                        async with aclosing(self._wire.listen(self._clients.get(), conversation, seed)) as pieces:
                            async for piece in pieces:
                                begun = True
                                if isinstance(piece, Reply):
                                    self._usage.compare(conversation, piece)
                                    yield piece
                                elif said := whole(piece):
                                    yield said
                    except AgenticVisionError:
                        raise
                    except Exception as error:
                        if begun:  # what was said is said
                            raise as_policy_error(error, self.model) from error
                        raise
        except AgenticVisionError:
            raise
        except Exception as error:
            raise as_policy_error(error, self.model) from error

    def forget(self, conversation_id: str) -> None:
        """Drop what is known of a conversation that is over."""
        self._wire.forget(conversation_id)

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        if (open_client := self._clients.pop()) is not None:
            await open_client.close()

    async def _whole(self, conversation: Conversation, seed: int | None, *, must_answer: bool) -> Reply:
        reply: Reply | None = None
        try:
            async for attempt in attempts(self.patience):
                with attempt:
                    reply = await self._wire.ask(self._clients.get(), conversation, seed, must_answer=must_answer)
        except AgenticVisionError:
            raise
        except Exception as error:  # of openai, of its HTTP library, of what it makes of a reply that is none
            raise as_policy_error(error, self.model) from error
        assert reply is not None
        self._usage.compare(conversation, reply)
        return reply

    def _client(self) -> AsyncOpenAI:
        return client(self.base_url, self.api_key, self.timeout)
