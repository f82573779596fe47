"""The visual tokens of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, exactly as their processor counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from agentic_vision.token_family import Coordinates, Family, Size


@dataclass(frozen=True)
class QwenVL(Family):
    """Qwen2-VL, Qwen2.5-VL, Qwen3-VL: any size on a grid of cells (`patch_size * merge_size` pixels wide).

    A cell is a visual token. Source: `smart_resize` of `Qwen2VLImageProcessor`, which all three use.
    """

    patch_size: int
    merge_size: int
    min_pixels: int
    max_pixels: int

    LONGEST_ASPECT = 200
    """The processor refuses longer strips; we thicken them to that, for a one-pixel line is an image too."""

    @property
    def cell(self) -> int:
        """Pixels along a side of a visual token."""
        return self.patch_size * self.merge_size

    def shown_size(self, size: Size) -> Size:
        width, height = self._within_aspect(size)
        cell = self.cell
        wide, high = round(width / cell) * cell, round(height / cell) * cell
        if wide * high > self.max_pixels:
            shrink = math.sqrt((width * height) / self.max_pixels)
            wide = max(cell, math.floor(width / shrink / cell) * cell)
            high = max(cell, math.floor(height / shrink / cell) * cell)
        elif wide * high < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            wide = math.ceil(width * grow / cell) * cell
            high = math.ceil(height * grow / cell) * cell
        return wide, high

    def tokens(self, size: Size) -> int:
        wide, high = self.shown_size(size)
        return (wide // self.cell) * (high // self.cell)

    def full(self, size: Size) -> Size:
        wide, high = self.shown_size(size)
        # Rounding to cells may lengthen the strip that was just allowed; cut the cells that would be refused.
        longest = self.LONGEST_ASPECT
        return min(wide, high * longest), min(high, wide * longest)

    def at_most(self, size: Size, tokens: int) -> Size:
        full = self.full(size)
        if self.tokens(full) <= tokens:
            return full
        width, height = self._within_aspect(size)
        best: Size | None = None
        # All grids that keep the aspect, smallest first: as the image grows, its sides round up one after the
        # other.
        across = down = 1
        while across * down * self.cell**2 <= self.max_pixels:
            allowed = self._allowed(across, down)
            if across * down > tokens and best is not None:
                break
            if allowed:
                best = (across * self.cell, down * self.cell)
                if across * down > tokens:
                    break
            next_across, next_down = (2 * across + 1) * height, (2 * down + 1) * width
            across, down = across + (next_across <= next_down), down + (next_down <= next_across)
        return best if best is not None and self.tokens(best) < self.tokens(full) else full

    def _allowed(self, across: int, down: int) -> bool:
        """Whether the processor leaves an image of so many cells as it is."""
        short, long = sorted((across, down))
        return across * down * self.cell**2 >= self.min_pixels and long <= short * self.LONGEST_ASPECT

    def _within_aspect(self, size: Size) -> Size:
        least = math.ceil(max(size) / self.LONGEST_ASPECT)
        return max(size[0], least), max(size[1], least)

    @classmethod
    def from_processor(cls, image_processor: Any, name: str, coordinates: Coordinates = "per_mille") -> QwenVL:
        """The family of a loaded `Qwen2VLImageProcessor` (of either backend)."""
        size = image_processor.size
        return cls(
            name,
            image_processor.patch_size,
            image_processor.merge_size,
            size["shortest_edge"],
            size["longest_edge"],
            coordinates=coordinates,
        )


# With the limits of the published checkpoints' preprocessor_config.json.
QWEN2_VL = QwenVL("qwen2-vl", 14, 2, min_pixels=56 * 56, max_pixels=28 * 28 * 16384)
QWEN2_5_VL = replace(QWEN2_VL, name="qwen2.5-vl", coordinates="pixels")
QWEN3_VL = QwenVL("qwen3-vl", 16, 2, min_pixels=256 * 256, max_pixels=4096 * 4096)
