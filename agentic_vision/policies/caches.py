"""How are the KV caches of several conversations put into one batch, and taken out of it again?

A cache is, for every layer, a pair of keys and values: rows x heads x columns x head size. A mask (rows x
columns) says which columns of a row are its own; the rest is padding. Where visual tokens are pruned between
layers, later layers hold fewer columns: each stretch of layers has a mask of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

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


@dataclass(eq=False)
class BatchCache:
    """The caches of a batch. Layers from `starts[i]` up to the next start hold the columns of `masks[i]`."""

    cache: Cache
    masks: list[torch.Tensor]
    starts: tuple[int, ...]

    @classmethod
    def nothing(cls, starts: tuple[int, ...], device: torch.device) -> Self:
        """No rows."""
        return cls(as_cache([]), [torch.ones(0, 0, dtype=torch.bool, device=device) for _ in starts], starts)

    @classmethod
    def alone(cls, layers: Layers, starts: tuple[int, ...], device: torch.device) -> Self:
        """One row, all of whose columns are its own. Without layers, it has no columns yet."""
        columns = [layers[start][0].shape[2] if layers else 0 for start in starts]
        return cls(as_cache(layers), [torch.ones(1, c, dtype=torch.bool, device=device) for c in columns], starts)

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """One batch of several, in their order."""
        return cls._of([merge(same) for same in zip(*(part._stretches() for part in parts), strict=True)], parts[0])

    def select(self, rows: torch.Tensor) -> Self:
        """Some rows, by index. It copies: no column that is padding in all of them comes along."""
        return self._of([select(*stretch, rows) for stretch in self._stretches()], self)

    @property
    def layers(self) -> Layers:
        """The pairs of all layers."""
        return as_layers(self.cache)

    def grow(self, stretch: int, new: torch.Tensor) -> torch.Tensor:
        """The mask of a stretch, with columns for the `new` (rows x width) that its layers are about to hold."""
        self.masks[stretch] = torch.cat([self.masks[stretch], new], dim=1)
        return self.masks[stretch]

    @classmethod
    def _of(cls, stretches: Sequence[tuple[Layers, torch.Tensor]], like: Self) -> Self:
        layers = [pair for part, _ in stretches for pair in part]
        return cls(as_cache(layers), [mask for _, mask in stretches], like.starts)

    def _stretches(self) -> list[tuple[Layers, torch.Tensor]]:
        layers = self.layers
        ends = (*self.starts[1:], len(layers))
        return [(layers[a:b], mask) for a, b, mask in zip(self.starts, ends, self.masks, strict=True)]


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
