"""Tokens in, tokens out: what a rollout server decodes, on the batcher and the KV caches of the local policies.

A turn's prompt begins with the tokens of the turn before. Those whose cache is still here are not computed again, and
the trajectories of one prompt share its first computation.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from agentic_vision.errors import PolicyError
from agentic_vision.policies.decoding import Decoder, DecoderRow
from agentic_vision.policies.encoding import Chunk
from agentic_vision.policies.sessions import Session


@dataclass(frozen=True)
class Sampling:
    """How one reply is sampled. `temperature` 0 takes the likeliest token."""

    max_tokens: int
    temperature: float = 1.0
    seed: int | None = None

    @classmethod
    def of(cls, parameters: dict[str, Any], max_tokens: int) -> Sampling:
        """From verl's sampling parameters. Raises `PolicyError` for one that this server does not do."""
        parameters = dict(parameters)
        limit = parameters.pop("max_tokens", None) or parameters.pop("max_new_tokens", None) or max_tokens
        temperature, seed = float(parameters.pop("temperature", 1.0)), parameters.pop("seed", None)
        parameters.pop("logprobs", None)  # always given
        idle = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
        for name, value in parameters.items():
            if value is not None and value != idle.get(name):
                raise PolicyError(f"the CPU rollout does not know {name}={value}: leave it out")
        return cls(min(int(limit), max_tokens), temperature, seed)


@dataclass(frozen=True)
class Generated:
    """Sampled ids, the stop id included, and the log-probability of each. `stopped`: not cut by the limit."""

    token_ids: list[int]
    log_probs: list[float]
    stopped: bool


@dataclass(eq=False)
class TokenTask:
    """One reply to `ids`, in which `images` stand in their order, as a `Task` of the batcher."""

    generator: TokenGenerator
    key: str
    ids: list[int]
    images: list[Image.Image]
    sampling: Sampling
    digests: tuple[bytes, ...] = ()

    def row(self) -> DecoderRow:
        self.digests = tuple(
            hashlib.sha256(image.tobytes() + repr(image.size).encode()).digest() for image in self.images
        )
        session, start, seen = self.generator.resumed(self.ids, self.digests, self.images)
        chunk = self.generator.chunk(self.ids[start:], self.images[seen:])
        sampling = self.sampling
        return DecoderRow(session, chunk, sampling.max_tokens, sampling.temperature, sampling.seed, log_probs=[])

    def progress(self, row: DecoderRow) -> None:
        """Nobody listens."""

    def result(self, row: DecoderRow) -> Generated:
        assert row.log_probs is not None
        # The last sampled token is not in the cache: whoever goes on gives it again, first of all.
        self.generator.keep(row.session, [*self.ids, *row.sampled[:-1]], self.digests)
        return Generated(row.sampled, row.log_probs, self.generator.decoder.stops(row.sampled[-1]))


Prompt = tuple[tuple[int, ...], tuple[bytes, ...]]
"""Token ids, and the digests of the images among them: equal ids with other images are another prompt."""


@dataclass(eq=False)
class TokenGenerator:
    """The model's side of the tasks: pixels, and the caches that may be gone on with. For one thread.

    `most_sessions`: caches kept; the oldest make room.
    """

    decoder: Decoder
    image_processor: Any
    image_id: int
    most_sessions: int = 256
    _kept: OrderedDict[Prompt, Session] = field(default_factory=OrderedDict)
    _prompts: OrderedDict[Prompt, Session] = field(default_factory=OrderedDict)

    def chunk(self, ids: list[int], images: Sequence[Image.Image]) -> Chunk:
        """`ids` with the pixels of the images among them. Raises `PolicyError` where these do not match."""
        features, wanted = None, 0
        if images:
            drawn = self.image_processor(images=list(images), return_tensors="pt")
            features = drawn["pixel_values"], drawn["image_grid_thw"]
            wanted = int(features[1].prod(-1).sum()) // self.image_processor.merge_size**2
        given = ids.count(self.image_id)
        if given != wanted:
            raise PolicyError(f"the prompt has {given} image tokens and its images make {wanted}")
        return Chunk(ids, features)

    def resumed(
        self, ids: list[int], digests: tuple[bytes, ...], images: Sequence[Image.Image]
    ) -> tuple[Session, int, int]:
        """A session that holds the beginning of this prompt, its length in tokens, and the images among them."""
        for length in sorted({len(known) for known, _ in self._kept}, reverse=True):
            if length < len(ids):
                seen = self._images_in(ids[:length])
                session = self._kept.pop((tuple(ids[:length]), digests[:seen]), None)
                if session is not None:
                    return session, length, seen
        return self._begun(ids, digests, images), len(ids) - 1, len(images)

    def _begun(self, ids: list[int], digests: tuple[bytes, ...], images: Sequence[Image.Image]) -> Session:
        """A session with all of a prompt but its last token; what a group's trajectories begin with is read once."""
        prompt = (tuple(ids), digests)
        if prompt not in self._prompts:
            self._prompts[prompt] = self.decoder.prefill(self.chunk(ids[:-1], images))
            while len(self._prompts) > self.most_sessions:
                self._prompts.popitem(last=False)
        # A cache is copied where it grows: sessions may begin with the same one.
        return replace(self._prompts[prompt], replies={})

    def keep(self, session: Session, ids: list[int], digests: tuple[bytes, ...]) -> None:
        """Remember the cache of `ids` for the next turn."""
        self._kept[tuple(ids), digests] = session
        while len(self._kept) > self.most_sessions:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all caches: the weights are others now."""
        self._kept.clear()
        self._prompts.clear()

    def _images_in(self, ids: Sequence[int]) -> int:
        """How many images stand in `ids`: runs of the image token."""
        before = (None, *ids)
        return sum(token == self.image_id != last for last, token in zip(before, ids, strict=False))
