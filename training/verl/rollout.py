"""verl's rollout server as the agent's policy: tokens in, tokens out, and a record of both that training can use.

A conversation is tokenised once: what a turn adds is encoded and appended, what the model sampled is kept as it is. The
record is then what the actor computes log-probabilities of, token for token.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from agentic_vision.errors import ConfigError, ContextFullError, PolicyError
from agentic_vision.policies.encoding import Encoder, Piece, encoder_for
from agentic_vision.policies.weights import load_reader
from agentic_vision.policy import Conversation, PromptStyle, Reply
from agentic_vision.visual_tokens import Family


def check_side(model: str) -> None:
    """Raises `ConfigError` where trajectories of `model` have no token for the outcome beside the side channel's.

    `model`: a folder or a hub name. The outcome is put on what the template writes behind the model's last token.
    """
    reader = load_reader(model)
    encoder = encoder_for(reader.tokenizer, reader.image_processor, reader.config)
    if len(encoder.turn_end_ids) < 2:
        raise ConfigError(
            f"the chat template of {model} writes nothing behind a reply that has ended, where `side` needs a token: "
            "let it end turns with a line break, or leave `side` out"
        )


class Server(Protocol):
    """What is asked of verl's `LLMServerClient`."""

    async def generate(
        self,
        request_id: str,
        *,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        image_data: list[Any] | None = None,
    ) -> Any:
        """A `TokenOutput`: token_ids, log_probs, extra_fields."""
        ...


@dataclass
class TokenTrajectory:
    """One trajectory in tokens. `ids[:prompt]` is the prompt; of the rest `mask` says what the model wrote (1)."""

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    ids: list[int] = field(default_factory=list)
    prompt: int = 0
    mask: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    images: list[Image.Image] = field(default_factory=list)
    pieces: tuple[Piece, ...] = ()
    seconds: float = 0.0
    steps: list[int | None] = field(default_factory=list)
    """The weights' versions that the turns were sampled from."""

    @property
    def response(self) -> list[int]:
        return self.ids[self.prompt :]

    def add(self, ids: list[int], *, log_probs: list[float] | None = None) -> None:
        """Appends to the response: what the model sampled, with `log_probs`, or what it was shown."""
        self.ids += ids
        self.mask += [int(log_probs is not None)] * len(ids)
        self.log_probs += log_probs if log_probs is not None else [0.0] * len(ids)


@dataclass(eq=False)
class RolloutPolicy:
    """A `Policy` that asks `server`. `take` hands out a conversation's record, once it has ended.

    A turn, with what it was shown before, that does not fit into `response_length` is dropped whole, and the
    conversation ends there: image tokens are never cut.
    """

    server: Server
    encoder: Encoder
    family: Family
    style: PromptStyle
    sampling: Mapping[str, Any]
    prompt_length: int
    response_length: int
    max_new_tokens: int
    _records: dict[str, TokenTrajectory] = field(default_factory=dict)

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        record = self._records.setdefault(conversation.id, TokenTrajectory())
        pieces = self.encoder.pieces(conversation)
        known = len(record.pieces)
        if pieces[:known] != record.pieces:
            raise PolicyError("what was said before has changed: the chat template must only ever append")
        added = pieces[known:]
        views = [piece.image for piece in added if piece.image is not None]
        shown = self.encoder.token_ids(added, [self.family.tokens(part.view.size) for part in views], {})
        if record.mask and record.mask[-1] and shown and shown[0] == record.ids[-1]:
            shown = shown[1:]  # the template closes a turn with the token that the model has sampled
        limit = self._room(record, shown)
        images = await asyncio.to_thread(lambda: [part.render() for part in views])
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            output = await self.server.generate(
                record.request_id,
                prompt_ids=[*record.ids, *shown],
                sampling_params={**self.sampling, "max_tokens": limit, **({} if seed is None else {"seed": seed})},
                image_data=[*record.images, *images],
            )
        except Exception as error:
            raise PolicyError(f"the rollout server failed: {type(error).__name__}: {error}") from error
        record.seconds += loop.time() - started
        sampled, log_probs = self._kept(list(output.token_ids), list(output.log_probs or ()))
        if record.prompt:
            record.add(shown)
        else:
            record.ids, record.prompt = list(shown), len(shown)
        record.add(sampled, log_probs=log_probs)
        record.images += images
        record.steps.append(output.extra_fields.get("global_steps"))
        stopped = sampled[-1] in self.encoder.ending_ids
        text = self.encoder.decode(sampled[:-1] if stopped else sampled)
        record.pieces = (*pieces, Piece("reply", text))
        return Reply(
            text=text,
            input_tokens=len(record.ids) - len(sampled),
            output_tokens=len(sampled),
            truncated=not stopped,
        )

    def forget(self, conversation_id: str) -> None:
        """Nothing: the record is for who takes it."""

    def take(self, conversation_id: str) -> TokenTrajectory:
        """The record of a conversation; from now on it is the caller's.

        Its response ends with what the template puts behind a turn, masked: rewards have a token of their own there.
        """
        record = self._records.pop(conversation_id, TokenTrajectory())
        if record.mask:
            end = list(self.encoder.turn_end_ids)
            record.add(end[1:] if end and record.ids[-1] == end[0] else end)
        return record

    def _room(self, record: TokenTrajectory, shown: list[int]) -> int:
        """Tokens that the next reply may have. Raises `ContextFullError` where there are none."""
        if not record.prompt:
            if len(shown) > self.prompt_length:
                raise ContextFullError(
                    f"the prompt has {len(shown)} tokens, images counted, and data.max_prompt_length is "
                    f"{self.prompt_length}: raise it, or glance at less"
                )
            return min(self.max_new_tokens, self.response_length - len(self.encoder.turn_end_ids))
        room = self.response_length - len(self.encoder.turn_end_ids) - len(record.mask) - len(shown)
        if room < 1:
            raise ContextFullError(
                f"what was shown does not fit into data.max_response_length={self.response_length}: the turn is dropped"
            )
        return min(self.max_new_tokens, room)

    def _kept(self, sampled: list[int], log_probs: list[float]) -> tuple[list[int], list[float]]:
        """What counts of a reply: all of it, up to a token that only an image may have."""
        end = next((n for n, token in enumerate(sampled) if token in self.encoder.vision_ids), len(sampled))
        if end == 0:
            raise PolicyError("the rollout server sampled " + ("an image's token" if sampled else "nothing"))
        if len(log_probs) != len(sampled):
            raise PolicyError("the rollout server gave no log-probabilities: set rollout.calculate_log_probs=true")
        return sampled[:end], log_probs[:end]
