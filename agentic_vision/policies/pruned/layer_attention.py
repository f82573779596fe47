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

    def weights(self, last: int | None = None) -> torch.Tensor:
        """What each of the new tokens, or of the `last` so many, gave to every column: rows x tokens x columns, fp32,
        averaged over the heads. Of padding, anything.
        """
        attention = self.layer.self_attn
        rows, width, _ = self.hidden.shape
        asked = width if last is None else last
        heads, columns = self.keys.shape[1:3]
        queries = self._queries(asked).reshape(rows, heads, -1, asked, self.keys.shape[3])
        later = torch.ones(asked, columns, dtype=torch.bool, device=self.keys.device).triu(columns - asked + 1)
        hidden = later | ~self.mask[:, None]  # rows x asked x columns
        total = self.keys.new_zeros(rows, asked, columns, dtype=torch.float32)
        for head in range(heads):  # one after the other: all at once would be the size of the whole prompt squared
            scores = queries[:, head] @ self.keys[:, head, None].transpose(2, 3)
            scores = scores.float() * attention.scaling
            scores = scores.masked_fill(hidden[:, None], torch.finfo(torch.float32).min)
            total += scores.softmax(dim=3).mean(dim=1)
        return total / heads

    def new_keys(self) -> torch.Tensor:
        """Keys of the new tokens, averaged over the heads: rows x width x head size."""
        return self.keys[:, :, -self.hidden.shape[1] :].float().mean(dim=1)

    def _queries(self, asked: int) -> torch.Tensor:
        attention = self.layer.self_attn
        states = self.layer.input_layernorm(self.hidden[:, -asked:])
        queries = attention.q_proj(states).unflatten(2, (-1, attention.head_dim))
        if hasattr(attention, "q_norm"):  # Qwen3-VL
            queries = attention.q_norm(queries)
        queries = queries.transpose(1, 2)
        cos, sin = (part[..., -asked:, :] for part in self.rotary)
        if cos.ndim == 4:  # Qwen2-VL and 2.5-VL: time, height and width are still apart
            section = attention.config.rope_parameters["mrope_section"]
            turned, _ = apply_multimodal_rotary_pos_emb(queries, queries, cos, sin, section)  # type: ignore[no-untyped-call]
        else:
            turned, _ = apply_rotary_pos_emb(queries, queries, cos, sin)
        found: torch.Tensor = turned
        return found
