"""A policy whose requests go into a file today, and whose replies come in another one tomorrow.

The loop that asks it is the usual one: it replays the replies that are known, and the first request whose reply is not
known stops the question, with `NotYetError`. Requests are known by what they say and the row that says it, so that a
question which takes another course than it did (a tool of one's own has changed) is asked anew, never answered wrongly.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..endpoint import status_passes
from ..errors import AgenticVisionError, PolicyError
from ..policies.chat_completions import ChatCompletions, reply
from ..policies.endpoint_errors import refused
from ..policies.openai import OpenAIPolicy
from ..policy import Conversation, Reply
from ..profiles import Price, Profile
from .results import Results

if TYPE_CHECKING:
    from openai import AsyncOpenAI

TRIES = 3  # rounds in which a request may fail for reasons that pass

asked_row: ContextVar[str] = ContextVar("asked_row", default="")
"""The id of the row that is being asked: rows that ask the same may be answered differently."""


class NotYetError(AgenticVisionError):
    """There is no reply yet: `request` is to be made, under the id `key`."""

    def __init__(self, key: str, request: dict[str, Any]) -> None:
        super().__init__(f"the reply to {key} is not known yet: make its request, and read its result in")
        self.key, self.request = key, request


class FiledPolicy(OpenAIPolicy):
    """The model `model` by way of OpenAI's Batch API, or whatever else answers its files (`vllm run-batch`).

    It needs `next_round`, and an address and a key only where the files are answered.
    """

    def __init__(
        self,
        model: str,
        *,
        profile: Profile | Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        image_quality: int | None = 90,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        """As of `OpenAIPolicy`; `profile` may say what a batch costs, where that is not half of the usual price.

        Raises `ConfigError` for settings that cannot be.
        """
        super().__init__(
            model,
            api_key="none: nothing is sent from here",
            profile=profile,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            image_quality=image_quality,
            request=request,
        )
        self._price_is_given = isinstance(profile, Mapping) and "price" in profile
        self.know(Results([]))

    @property
    def price(self) -> Price | None:
        """What tokens cost by the Batch API: half (https://platform.openai.com/docs/guides/batch)."""
        usual = super().price
        if usual is None or self._price_is_given:
            return usual
        half = {name: getattr(usual, name) / 2 for name in ("input", "cached", "output")}
        return usual.model_copy(update=half)

    def know(self, results: Results) -> None:
        """From now on these results are known, and no others."""
        settings = {field.name: getattr(self._wire, field.name) for field in fields(ChatCompletions)}
        self._wire = _Filed(**settings, results=results)


@dataclass(frozen=True)
class _Filed(ChatCompletions):
    """Chat Completions by post."""

    results: Results

    async def ask(
        self,
        client: AsyncOpenAI,  # noqa: ARG002
        conversation: Conversation,
        seed: int | None,
        *,
        must_answer: bool = False,
    ) -> Reply:
        """The reply that is known. Raises `NotYetError` where there is none, `PolicyError` where it is an error."""
        from openai.types.chat import ChatCompletion

        key = _key(conversation, seed, must_answer=must_answer)
        tried = 0
        said = PolicyError("")
        for status, body in self.results.of(key):
            if status == 200:
                return reply(ChatCompletion.construct(**body), self.profile)
            code, words = str(body.get("code") or ""), str(body.get("message") or body)
            said = refused(status, code, words, self.model)
            if not status_passes(status, code):
                raise said
            tried += 1
        if tried >= TRIES:
            raise said
        body = await asyncio.to_thread(self.request, conversation, seed, must_answer=must_answer)
        body.update(body.pop("extra_body", {}))  # where the openai client is told what it has no field for
        raise NotYetError(key, body)


def _key(conversation: Conversation, seed: int | None, *, must_answer: bool) -> str:
    """The id of a request, of letters and digits: APIs allow 64 of them at least."""
    said = [
        [message.role, message.text, *(f"{i.source.digest} {i.view.model_dump_json()}" for i in message.images)]
        for message in conversation.messages
    ]
    asked = json.dumps([asked_row.get(), seed, must_answer, said])
    return hashlib.sha256(asked.encode()).hexdigest()[:48]
