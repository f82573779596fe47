"""Where does the model look when it speaks? Two attention heads are told, so that finding need not be found by chance.

The first head's share of attention on the evidence, the second's on the very character to be said, are a loss beside
the answers. Only training knows of it: the network is the plain one.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel, apply_rotary_pos_emb

from .dialogue import Lesson

LAYER = 2
"""Of five: after the question has been gathered, before the answer is put together."""
HEADS = 2


class Gaze:
    """Within it, one forward pass is watched; `astray` then says how much attention missed its place."""

    def __init__(self, model: Qwen3VLTextModel) -> None:
        self._attention: Any = model.layers[LAYER].self_attn
        self._seen: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._hook = self._attention.register_forward_pre_hook(
            lambda _, __, kwargs: self._seen.update(kwargs), with_kwargs=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def astray(self, lesson: Lesson) -> tuple[torch.Tensor, float]:
        """Mean of -log of the attention on the right cells over looks and heads, and that attention's mean."""
        if not len(lesson.lookers):
            return torch.zeros(()), float("nan")
        attention, states = self._attention, self._seen["hidden_states"]
        trees, length, _ = states.shape
        width = attention.head_dim
        keys = states @ attention.k_proj.weight[: HEADS * width].T
        queries = states @ attention.q_proj.weight[: HEADS * width].T
        shape = (trees, length, HEADS, width)
        queries = attention.q_norm(queries.view(shape)).transpose(1, 2)
        keys = attention.k_norm(keys.view(shape)).transpose(1, 2)
        queries, keys = apply_rotary_pos_emb(queries, keys, *self._seen["position_embeddings"])
        tree, index = lesson.lookers.unbind(1)
        total, hit = torch.zeros(()), 0.0
        for row in tree.unique().tolist():
            mine = tree == row
            scores = queries[row][:, index[mine]] @ keys[row].transpose(1, 2) * attention.scaling
            scores = scores.masked_fill(~lesson.mask[row, 0, index[mine]], float("-inf"))
            there = lesson.looked_at[mine].transpose(0, 1)
            share = (scores.log_softmax(-1).masked_fill(~there, float("-inf"))).logsumexp(-1)
            total = total - share.sum()
            hit += float(share.detach().exp().sum())
        n = len(lesson.lookers) * HEADS
        return total / n, hit / n
