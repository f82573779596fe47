"""How do tokens go through a model that drops some of them on the way?

The model's own modules, one after the other: encoder, embeddings, decoder layers, head. Between two of them a method
may drop visual tokens: what remains keeps its rotary position, and the caches of the layers behind hold only that.
Nothing of transformers is changed; attention is the model's configured one.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask

from ...errors import ConfigError
from ..caches import BatchCache
from ..network import NewTokens
from .encoder_attention import EncoderAttention
from .layer_attention import LayerAttention
from .method import Method, mean_share
from .stream import Stream


class PrunedModel:
    """A `Network`: `model` with `method` at work. `kept` is what the method's paper means by it."""

    def __init__(self, model: Any, method: Method, kept: float) -> None:
        """Raises `ConfigError` for layers that the model does not have, and for one whose attention is windowed."""
        self._model, self._inner, self._text = model, model.model, model.model.language_model
        if "sliding_attention" in (getattr(self._text.config, "layer_types", None) or ()):
            raise ConfigError("a model with sliding-window attention cannot be pruned: set use_sliding_window to false")
        self._method = method
        shares = method.shares(len(self._text.layers), kept)
        self._shares = shares if kept < 1 else {}
        self.starts: tuple[int, ...] = tuple(sorted({0, *self._shares}))

    @property
    def share(self) -> float:
        """The share of visual tokens that the decoder layers see, averaged over them."""
        return mean_share(self._shares, len(self._text.layers))

    def __call__(self, new: NewTokens, held: BatchCache) -> torch.Tensor:
        seen: EncoderAttention | LayerAttention | None
        stream, seen = self._embedded(new)
        for index, layer in enumerate(self._text.layers):
            if index in self._shares and stream.tokens:
                self._method.prune(stream, self._shares[index], seen)
            if index in self.starts:
                mask = held.grow(self.starts.index(index), stream.mask)
                causal = self._causal(stream.hidden, mask, held.cache, index)
                rotary = self._text.rotary_emb(stream.hidden, stream.positions)
            before = stream.hidden
            stream.hidden = layer(
                before,
                attention_mask=causal,
                position_embeddings=rotary,
                past_key_values=held.cache,
                use_cache=True,
            )
            if index < len(stream.deepstack):
                stream.hidden = stream.hidden + stream.deepstack[index]
            if index + 1 in self._shares and stream.tokens:
                seen = LayerAttention(layer, before, rotary, held.layers[index][0], mask)
        logits: torch.Tensor = self._model.lm_head(self._text.norm(stream.hidden[:, -1:]))
        return logits[:, -1].float()

    def _embedded(self, new: NewTokens) -> tuple[Stream, EncoderAttention | None]:
        """The tokens as they enter the first layer, and what the encoder's attention was if the method asks."""
        hidden = self._text.embed_tokens(new.ids)
        stream = Stream(hidden, new.positions, new.mask, torch.full_like(new.ids, -1))
        if new.pixels is None or new.grids is None:
            return stream, None
        reads = self._method.reads_encoder and 0 in self._shares
        found = self._model.get_image_features(
            new.pixels, new.grids, return_dict=True, **({"output_hidden_states": True} if reads else {})
        )
        images: list[torch.Tensor] = list(found.pooler_output)
        visual = new.ids == self._model.config.image_token_id
        numbers = [torch.full((len(image),), index) for index, image in enumerate(images)]
        stream.tokens = [len(image) for image in images]
        stream.image[visual] = torch.cat(numbers).to(new.ids.device)
        hidden[visual] = torch.cat(images).to(hidden)
        stream.deepstack = tuple(
            torch.zeros_like(hidden).masked_scatter(visual[:, :, None], features.to(hidden))
            for features in getattr(found, "deepstack_features", None) or ()
        )
        seen = EncoderAttention(self._inner.visual, found.hidden_states, new.grids) if reads else None
        return stream, seen

    def _causal(self, hidden: torch.Tensor, mask: torch.Tensor, cache: Cache, start: int) -> Any:
        """The attention mask from layer `start` on, as the model's attention wants it."""
        past = Cache(layers=cache.layers[start:]) if len(cache.layers) > start else None
        return create_causal_mask(
            config=self._text.config,
            inputs_embeds=hidden,
            attention_mask=None if bool(mask.all()) else mask,
            past_key_values=past,
        )
