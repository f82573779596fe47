"""Which model answers, when the weights are here? Any Qwen2-VL, Qwen2.5-VL or Qwen3-VL checkpoint, on CPU or
GPU.

    policy = TransformersPolicy.load("Qwen/Qwen2.5-VL-3B-Instruct")
    agent = VisionAgent(policy)

The KV cache of a conversation is kept from turn to turn: a further turn costs its new tokens and its new
images. Replies that are asked for at the same time are decoded in one batch. Needs the extra
`agentic-vision[local]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError
from ..policy import Conversation, PromptStyle, Reply
from ..visual_tokens import Family
from ..visual_tokens import family as family_named

if TYPE_CHECKING:
    import torch

    from .network import Network
    from .weights import Weights

OPENING, CLOSING = "<think>I must answer now.</think><answer>", "</answer>"


class TransformersPolicy:
    """A `Policy` on local weights, made by `load`. It may be used from several threads and event loops."""

    provider = "transformers"  # as telemetry names it

    def __init__(
        self,
        weights: Weights,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        max_batch: int = 16,
        cache_gib: float = 4.0,
        family: Family | None = None,
        style: PromptStyle = PromptStyle.TEXT,
    ) -> None:
        """As `load`, with weights that are loaded already. Raises `ConfigError` for settings that cannot be."""
        from .batcher import Batcher
        from .conversing import TurnTasks
        from .decoding import decoder_for
        from .encoding import encoder_for
        from .sessions import Sessions

        check_settings(max_new_tokens, max_batch, temperature, cache_gib)
        model = weights.model
        encoder = encoder_for(weights.tokenizer, weights.image_processor, model.config)
        decoder = decoder_for(model, weights.tokenizer, encoder, self._network(model))
        self.weights = weights
        self.options: dict[str, Any] = {  # with which another policy can be made of the same weights
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "max_batch": max_batch,
            "cache_gib": cache_gib,
            "family": family,
            "style": style,
        }
        self.model: torch.nn.Module = model
        self._family = family or weights.family
        self._style = style
        self._sessions = Sessions(int(cache_gib * 2**30))
        self._turns = TurnTasks(
            encoder,
            decoder,
            self._sessions,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            longest=model.config.get_text_config().max_position_embeddings,
        )
        self._batcher: Batcher[Reply] = Batcher(decoder, max_batch=max_batch)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        max_batch: int = 16,
        cache_gib: float = 4.0,
        family: Family | None = None,
        style: PromptStyle | None = None,
    ) -> Self:
        """Load a checkpoint folder or a hub name.

        `device`: None is the CUDA GPU if there is one. `dtype`: None is the checkpoint's own on a GPU, float32 on
        a CPU. `temperature` 0 always takes the likeliest token. At most `max_batch` replies are decoded
        together. `cache_gib`: what the caches of resting conversations may take; the oldest make room.
        `max_new_tokens`, `family`, `style`: None is what the checkpoint was trained for, where it says so
        (`trained_for`); else 256, what the checkpoint's processor says, and TEXT. Raises `ConfigError` for wrong
        use, also where torch is missing, `PolicyError` for weights that cannot be loaded.
        """
        # Before torch is imported and the weights are loaded, which takes seconds to minutes.
        check_settings(1 if max_new_tokens is None else max_new_tokens, max_batch, temperature, cache_gib)
        name = _checked_name(name_or_path)
        from .trained_for import TrainedFor
        from .weights import load_weights

        known = TrainedFor.read(name)
        return cls(
            load_weights(name, device, dtype),
            max_new_tokens=known.max_new_tokens if max_new_tokens is None else max_new_tokens,
            temperature=temperature,
            max_batch=max_batch,
            cache_gib=cache_gib,
            family=family or (family_named(known.family) if known.family else None),
            style=style or known.style,
        )

    @property
    def family(self) -> Family:
        """The visual-token arithmetic of the checkpoint's own image processor."""
        return self._family

    @property
    def style(self) -> PromptStyle:
        """How the model is told of its tools."""
        return self._style

    @property
    def settings(self) -> dict[str, Any]:
        """What decides over its replies, beside the weights: JSON, to be stored with them."""
        chosen = {name: self.options[name] for name in ("max_new_tokens", "temperature")}
        return {"family": repr(self._family), "style": self._style, **chosen}

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The next assistant message. `seed` fixes what is sampled at a temperature, whatever else is in the
        batch.

        Raises `PolicyError` where the weights fail or the conversation outgrows the model, `ImageError` for
        an image that cannot be drawn. Cancelling the task takes the request out of the batch.
        """
        return await asyncio.wrap_future(self._batcher.submit(self._turns.task(conversation, seed)))

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The answer, with what was seen: the model goes on from an `<answer>` that it did not write itself."""
        task = self._turns.task(conversation, seed, opening=OPENING)
        reply = await asyncio.wrap_future(self._batcher.submit(task))
        if CLOSING in reply.text:
            return reply
        return reply.model_copy(update={"text": reply.text + CLOSING, "truncated": False})

    async def stream(self, conversation: Conversation, *, seed: int | None = None) -> AsyncGenerator[str | Reply, None]:
        """`reply`, as pieces of its text while they are decoded, and the whole reply at last."""
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[str | None] = asyncio.Queue()

        def hear(piece: str | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has gone: nobody listens any more
                loop.call_soon_threadsafe(said.put_nowait, piece)

        future = self._batcher.submit(self._turns.task(conversation, seed, say=hear))
        future.add_done_callback(lambda _: hear(None))
        try:
            while (piece := await said.get()) is not None:
                yield piece
            whole: Reply = await asyncio.wrap_future(future)
            yield whole
        finally:
            future.cancel()

    def _network(self, model: Any) -> Network | None:  # noqa: ARG002
        """How tokens go through the model, None being whole: the door for policies that run it differently."""
        return None

    def forget(self, conversation_id: str) -> None:
        """Free the KV cache of a conversation that is over."""
        self._sessions.forget(conversation_id)


def check_settings(max_new_tokens: int, max_batch: int, temperature: float, cache_gib: float = 0.0) -> None:
    """Raises `ConfigError` for settings that cannot be."""
    numbers = math.isfinite(temperature) and math.isfinite(cache_gib)
    if not numbers or max_new_tokens < 1 or max_batch < 1 or temperature < 0 or cache_gib < 0:
        raise ConfigError(
            "max_new_tokens and max_batch must be 1 or more, temperature and cache_gib 0 or more, not "
            f"{max_new_tokens}, {max_batch}, {temperature} and {cache_gib}"
        )


def _checked_name(name_or_path: str | Path) -> str:
    """A checkpoint folder that exists, or what may be a name on the hub."""
    # os.path's questions are answered with no, where pathlib's raise: for `~nobody`, or a name that is too long.
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isdir(path):
        if not (path / "config.json").is_file():
            raise ConfigError(f"{path} is not a checkpoint folder: it has no config.json")
        return str(path)
    name = str(name_or_path)
    hub_name = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name)
    if isinstance(name_or_path, Path) or os.path.exists(path) or not hub_name:
        raise ConfigError(
            f"there is no checkpoint folder {path}: give one, or a hub name like Qwen/Qwen3-VL-2B-Instruct"
        )
    if "/" not in name:  # a Qwen-VL checkpoint on the hub has an owner
        raise ConfigError(
            f"there is no checkpoint folder {name}: give one, or a hub name like Qwen/Qwen3-VL-2B-Instruct; a model "
            f"behind an endpoint is VisionAgent({name!r}, base_url=...), or VisionAgent(OpenAIPolicy({name!r}))"
        )
    return name
