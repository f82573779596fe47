"""FastV: after layer K the model reads only the visual tokens that were attended to most.

Chen et al., "An Image is Worth 1/2 Tokens After Layer 2", ECCV 2024, arXiv 2403.06764, section 4.1: the criterion
phi_attn is the attention that a token receives in layer K, averaged over the heads; the lowest R% are dropped from
layer K + 1 on. K = 2 in most of the paper; `kept` is 1 - R.

The paper averages over "all other tokens" that attend; the authors' code, which its figures come from, takes the
last token of the prompt only. So do we: it is the one that has read the question, and one row of weights is cheap.

Settled here: every image keeps its own share, so that none is starved by another that was read with it. A
conversation's images are ranked when they are read: later turns drop only from their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .encoder_attention import EncoderAttention
from .layer_attention import LayerAttention
from .method import checked_layer, count, highest
from .stream import Stream


@dataclass(frozen=True)
class FastV:
    """`layer`: K, from 1 to the model's layers less one."""

    layer: int = 2
    name = "fastv"
    reads_encoder = False

    def shares(self, layers: int, kept: float) -> dict[int, float]:
        return {checked_layer(self.name, self.layer, layers): kept}

    def prune(self, stream: Stream, share: float, seen: EncoderAttention | LayerAttention | None) -> None:
        assert isinstance(seen, LayerAttention)
        width = stream.mask.shape[1]
        last = torch.tensor([width - 1], device=stream.mask.device)  # rows are padded on the left
        kept = stream.image < 0
        for image, tokens in enumerate(stream.tokens):
            row, columns = stream.places(image)
            attended = seen.weights(row, last)[0, -width:]
            best: torch.Tensor = highest(attended[columns], count(share, tokens))
            kept[row, columns[best]] = True
        stream.keep(kept)
