"""Whom did the tokens attend to in a language layer? The weights, computed again where a method needs them.

The models' fast attention keeps no weights. The keys are in the cache; the queries are projected once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..torchvision_ops import declare_operators

declare_operators()  # before transformers is imported

from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_multimodal_rotary_pos_emb  # noqa: E402
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb  # noqa: E402


@dataclass(frozen=True, eq=False)
class LayerAttention:
    """The attention in a decoder `layer` that has run on `hidden` (rows x width x size).

    `rotary`: the cosines and sines it was given; `keys`: all that it holds now, rows x heads x columns x head size,
    the last `width` columns being new; `mask` (rows x columns) tells padding.
    """

    layer: Any
    hidden: torch.Tensor
    rotary: tuple[torch.Tensor, torch.Tensor]
    keys: torch.Tensor
    mask: torch.Tensor

    def weights(self, row: int, asked: torch.Tensor) -> torch.Tensor:
        """What some of the new tokens of a row gave to every column: tokens x columns, fp32, averaged over the heads.

        `asked`: their places among the new ones, of which only these are computed.
        """
        attention = self.layer.self_attn
        width, columns, heads = self.hidden.shape[1], self.keys.shape[2], self.keys.shape[1]
        # Heads of keys x query heads of each x tokens x size.
        queries = self._queries(row, asked).reshape(heads, -1, len(asked), self.keys.shape[3])
        places = torch.arange(columns, device=self.keys.device)
        unseen = (places > (columns - width + asked)[:, None]) | ~self.mask[row]
        total = self.keys.new_zeros(len(asked), columns, dtype=torch.float32)
        for head in range(heads):  # one after the other: all at once would be several times as large
            scores = (queries[head] @ self.keys[row, head].T).float() * attention.scaling
            total += scores.masked_fill(unseen, torch.finfo(torch.float32).min).softmax(dim=2).mean(dim=0)
        return total / heads

    def new_keys(self) -> torch.Tensor:
        """Keys of the new tokens, averaged over the heads: rows x width x head size."""
        return self.keys[:, :, -self.hidden.shape[1] :].float().mean(dim=1)

    def _queries(self, row: int, asked: torch.Tensor) -> torch.Tensor:
        """Of the `asked` tokens of a row, turned to their places: query heads x tokens x head size."""
        attention = self.layer.self_attn
        states = self.layer.input_layernorm(self.hidden[row : row + 1, asked])
        queries = attention.q_proj(states).unflatten(2, (-1, attention.head_dim))
        if hasattr(attention, "q_norm"):  # Qwen3-VL
            queries = attention.q_norm(queries)
        queries = queries.transpose(1, 2)
        cos, sin = (part[..., row : row + 1, asked, :] for part in self.rotary)
        if cos.ndim == 4:  # Qwen2-VL and 2.5-VL: time, height and width are still apart
            section = attention.config.rope_parameters["mrope_section"]
            turned, _ = apply_multimodal_rotary_pos_emb(queries, queries, cos, sin, section)  # type: ignore[no-untyped-call]
        else:
            turned, _ = apply_rotary_pos_emb(queries, queries, cos, sin)
        of_row: torch.Tensor = turned[0]
        return of_row
