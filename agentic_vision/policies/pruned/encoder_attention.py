"""Whom did the patches of an image attend to in the vision encoder? Its last block that sees whole images.

A visual token is a square of patches: its figures are the averages of theirs. The encoders have no [CLS] token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..torchvision_ops import declare_operators

declare_operators()  # before transformers is imported

from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision  # noqa: E402

QUERIES = 1024  # patches whose weights are in memory at a time


@dataclass(frozen=True, eq=False)
class EncoderAttention:
    """`hidden`: the encoder's hidden states before its first block and after each (patches x size, all images one
    after the other); `grids`: images x 3, time, height and width in patches.
    """

    encoder: Any
    hidden: tuple[torch.Tensor, ...]
    grids: torch.Tensor

    def of(self, image: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each visual token of an image: the attention that it gets from all of the image's patches (tokens),
        and its key (tokens x head size); fp32, averaged over heads, queries, and the patches of the token.
        """
        queries, keys, order = self._projected(image)
        heads, patches = queries.shape[:2]
        scaling = queries.shape[2] ** -0.5
        received = queries.new_zeros(patches)
        for start in range(0, patches, QUERIES):
            some = queries[:, start : start + QUERIES]
            received += (some @ keys.transpose(1, 2) * scaling).softmax(dim=2).sum(dim=(0, 1))
        by_token = received.reshape(len(order), -1).mean(dim=1) / (heads * patches)
        metric = keys.mean(dim=0).reshape(len(order), -1, keys.shape[2]).mean(dim=1)
        back = order.argsort()
        return by_token[back], metric[back]

    def _projected(self, image: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries and keys (heads x patches x head size, fp32) in the encoder's own order, and the visual tokens in
        that order.
        """
        encoder = self.encoder
        whole = getattr(encoder.config, "fullatt_block_indexes", None)  # Qwen2.5-VL's other blocks see windows
        index = max(whole) if whole else len(encoder.blocks) - 1
        block, before = encoder.blocks[index], self.hidden[index]
        ends = self.grids.prod(dim=1).cumsum(dim=0).tolist()
        states = before[ends[image] - int(self.grids[image].prod()) : ends[image]]
        places, order = self._places(self.grids[image].tolist(), windows=bool(whole))
        frequencies = encoder.rotary_pos_emb.inv_freq.float()
        angles = (places.to(states.device)[:, :, None] * frequencies).flatten(1).repeat(1, 2)
        attention = block.attn
        qkv = attention.qkv(block.norm1(states)).reshape(len(states), 3, attention.num_heads, -1)
        queries, keys, _ = qkv.float().unbind(dim=1)
        queries, keys = apply_rotary_pos_emb_vision(queries, keys, angles.cos(), angles.sin())
        return queries.transpose(0, 1), keys.transpose(0, 1), order.to(states.device)

    def _places(self, grid: list[int], windows: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and column of each patch (patches x 2) in the encoder's order, and the visual tokens in that order."""
        time, height, width = grid
        side = self.encoder.spatial_merge_size
        down, across = torch.meshgrid(torch.arange(height // side), torch.arange(width // side), indexing="ij")
        inner = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        tokens = torch.stack([down.flatten(), across.flatten()], dim=1)  # of one frame, row by row
        order = torch.arange(len(tokens))
        if windows:  # window by window, row by row in each
            reach = self.encoder.window_size // side // self.encoder.patch_size
            window = (tokens // reach) @ torch.tensor([width, 1])
            order = window.argsort(stable=True)
        places = (tokens[order, None] * side + inner).flatten(0, 1).repeat(time, 1)
        return places, torch.cat([order + frame * len(order) for frame in range(time)])
