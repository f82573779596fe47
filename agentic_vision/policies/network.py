"""How do tokens go through the model? Whole, as transformers runs it; a pruning policy has a way of its own.

The decoder prepares a batch of new tokens, a `Network` runs them and lets the caches grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .caches import BatchCache


@dataclass(frozen=True, eq=False)
class NewTokens:
    """Tokens to run: `ids` (rows x width), padded on the left where `mask` (rows x width) is False, their rotary
    `positions` (3 x rows x width), and what the processor made of their images, in the order of the placeholders:
    `pixels` (patches x values) and `grids` (images x 3: time, height, width in patches).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    pixels: torch.Tensor | None = None
    grids: torch.Tensor | None = None


class Network(Protocol):
    """Runs tokens through a model."""

    @property
    def starts(self) -> tuple[int, ...]:
        """The layers at which the columns of the caches may change: 0, and where tokens are dropped."""
        ...

    def __call__(self, new: NewTokens, held: BatchCache) -> torch.Tensor:
        """Logits (rows x vocabulary, fp32) after the last token of every row; `held` grows by the tokens."""
        ...


class WholeModel:
    """A transformers model as it is: every layer sees every token."""

    starts = (0,)

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, new: NewTokens, held: BatchCache) -> torch.Tensor:
        mask = held.grow(0, new.mask)
        vision = {} if new.pixels is None else {"pixel_values": new.pixels, "image_grid_thw": new.grids}
        logits: torch.Tensor = self._model(
            input_ids=new.ids,
            position_ids=new.positions,
            attention_mask=None if bool(mask.all()) else mask,  # faster without, where nothing is padding
            past_key_values=held.cache,
            use_cache=True,
            logits_to_keep=1,
            **vision,
        ).logits
        return logits[:, -1].float()
