"""What does a pruning method have to say? Where visual tokens are dropped, how many stay, and which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from ...errors import ConfigError
from .encoder_attention import EncoderAttention
from .layer_attention import LayerAttention
from .stream import Stream


class Method(Protocol):
    """One of the field's methods.

    `reads_encoder`: it wants an `EncoderAttention` before the first layer, which costs the hidden states of all
    the encoder's blocks while the encoder runs.
    """

    @property
    def name(self) -> str: ...

    @property
    def reads_encoder(self) -> bool: ...

    def shares(self, layers: int, kept: float) -> dict[int, float]:
        """For `kept` in (0, 1], the share of an image's tokens that remains after so many of a model's `layers`
        have run; 0 is before the first.

        Raises `ConfigError` for layers that the model does not have.
        """
        ...

    def prune(self, stream: Stream, share: float, seen: EncoderAttention | LayerAttention | None) -> None:
        """Drop all but `share` of each image's tokens from `stream`. `seen`: the attention in the layer that has
        just run, or in the encoder; None before the first layer where the method does not read the encoder.
        """
        ...


def mean_share(shares: Mapping[int, float], layers: int) -> float:
    """The share of visual tokens that a model's layers see, averaged over them. `shares` as a method gives it."""
    seen = [1.0] * layers
    for after in sorted(shares):
        seen[after:] = [shares[after]] * (layers - after)
    return sum(seen) / layers


def count(share: float, tokens: int) -> int:
    """How many of an image's tokens a share of them is: rounded half up, at least one."""
    return max(1, int(share * tokens + 0.5))


def checked_layer(name: str, layer: int, layers: int) -> int:
    """A number of layers after which there are others. Raises `ConfigError`."""
    if not 1 <= layer < layers:
        raise ConfigError(
            f"{name} cannot drop tokens after layer {layer} of a model with {layers}: "
            f"give a layer from 1 to {layers - 1}"
        )
    return layer


def highest(scores: torch.Tensor, number: int) -> torch.Tensor:
    """The indices of the `number` highest scores, in their order of place."""
    return scores.topk(number).indices.sort().values
