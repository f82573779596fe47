"""How are the KV caches of several conversations put into one batch, and taken out of it again?

A cache is, for every layer, a pair of keys and values: rows x heads x columns x head size. A mask (rows x
columns) says which columns of a row are its own; the rest is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

Layers = list[tuple[torch.Tensor, torch.Tensor]]

SPARE = 64  # columns allocated ahead: transformers' own layer copies the whole cache for every token


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values that grow into buffers with room to spare."""

    def __init__(self, pair: tuple[torch.Tensor, torch.Tensor] | None = None) -> None:
        super().__init__()
        self._buffers: list[torch.Tensor] = []
        if pair:
            self.lazy_initialization(*pair)
            self.keys, self.values = pair

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states (rows x heads x columns x head size); gives all keys and all values."""
        start: int = self.get_seq_length()
        end = start + key_states.shape[2]
        if not self._buffers or self._buffers[0].shape[2] < end:
            old = (self.keys, self.values)
            self._buffers = []
            for states, before in zip((key_states, value_states), old, strict=True):
                buffer = states.new_empty(*states.shape[:2], end + SPARE, states.shape[3])
                if before is not None:
                    buffer[:, :, :start] = before
                self._buffers.append(buffer)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        grown = self._buffers[0][:, :, :end], self._buffers[1][:, :, :end]
        self.keys, self.values = grown
        return grown


def as_cache(layers: Layers) -> Cache:
    """What a transformers model reads and grows. No layers: it is empty."""
    if not layers:
        return Cache(layer_class_to_replicate=_Layer)
    return Cache(layers=[_Layer(pair) for pair in layers])


def as_layers(cache: Any) -> Layers:
    """The pairs of a cache, as far as it has grown."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def select(layers: Layers, mask: torch.Tensor, rows: torch.Tensor) -> tuple[Layers, torch.Tensor]:
    """Some rows of a batch, by index, without the columns that are padding in all of them."""
    mask = mask[rows]
    columns = mask.any(dim=0).nonzero().squeeze(1)
    return [(k[rows][:, :, columns], v[rows][:, :, columns]) for k, v in layers], mask[:, columns]


def merge(parts: Sequence[tuple[Layers, torch.Tensor]]) -> tuple[Layers, torch.Tensor]:
    """One batch of several, padded on the left to the widest. A part may be without columns and layers."""
    if len(parts) == 1:
        return parts[0]
    width = max(mask.shape[1] for _, mask in parts)
    mask = torch.cat([torch.nn.functional.pad(mask, (width - mask.shape[1], 0)) for _, mask in parts])
    depth = max(len(layers) for layers, _ in parts)
    layers = [(_stack(parts, index, 0, width), _stack(parts, index, 1, width)) for index in range(depth)]
    return layers, mask


def _stack(parts: Sequence[tuple[Layers, torch.Tensor]], layer: int, side: int, width: int) -> torch.Tensor:
    like = next(layers[layer][side] for layers, _ in parts if layers)
    whole = like.new_zeros(sum(len(mask) for _, mask in parts), like.shape[1], width, like.shape[3])
    row = 0
    for layers, mask in parts:
        if layers:
            whole[row : row + len(mask), :, width - mask.shape[1] :] = layers[layer][side]
        row += len(mask)
    return whole
