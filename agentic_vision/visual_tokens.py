"""What does it cost to show an image to a model of this family, and at which size does it see all it can?

The agent sends images at sizes that a family's own processor leaves as they are, wherever there are such sizes, so
that what is counted here is what the model sees. The arithmetic is checked in the tests against the processors of
`transformers` and, for closed models, against the published formulas. All sizes are (width, height) in pixels.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.token_family import Coordinates, Family, Glance, Size, scaled

__all__ = ["FAMILIES", "Family", "FixedGrid", "Glance", "LlavaNext", "OpenAIPatches", "OpenAITiles", "QwenVL", "family"]


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
    """The processor refuses longer strips. Ours are thickened to that, for a one-pixel line is an image too."""

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
        # All grids that keep the aspect, smallest first: as the image grows, its sides round up one after the other.
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

    @classmethod
    def from_checkpoint(cls, folder: str | Path) -> QwenVL:
        """The family of a Qwen-VL checkpoint folder, by its `config.json` and its image processor's settings.

        Settings are read as old and new `transformers` write them. Raises `ConfigError` where they are missing.
        """
        folder = Path(folder)
        kind = str(_read_json(folder / "config.json").get("model_type", ""))
        if not kind.startswith(("qwen2_vl", "qwen2_5_vl", "qwen3_vl")):
            raise ConfigError(f"{folder} holds a {kind or 'nameless'} model: give a Qwen2-VL, 2.5-VL or 3-VL checkpoint")
        settings = _read_json(folder / "processor_config.json").get("image_processor") or _read_json(
            folder / "preprocessor_config.json"
        )
        if not settings:
            raise ConfigError(f"{folder} has no preprocessor_config.json: copy it from where the checkpoint came from")
        size = settings.get("size") or {}
        known = FAMILIES["qwen3-vl" if kind.startswith("qwen3") else "qwen2-vl"]
        assert isinstance(known, QwenVL)
        return cls(
            kind,
            settings.get("patch_size", known.patch_size),
            settings.get("merge_size", known.merge_size),
            settings.get("min_pixels") or size.get("shortest_edge") or known.min_pixels,
            settings.get("max_pixels") or size.get("longest_edge") or known.max_pixels,
            coordinates="pixels" if kind.startswith("qwen2_5_vl") else "per_mille",
        )


@dataclass(frozen=True)
class FixedGrid(Family):
    """LLaVA-1.5 and its like: every image becomes one square, at one price.

    The processor would crop what is not square, so images are sent as squares: the model sees all of them, and what
    it points at is where it says. Source: `LlavaImageProcessor`; (side / patch_size)² tokens.
    """

    side: int
    patch_size: int

    def shown_size(self, size: Size) -> Size:  # noqa: ARG002 (the same for every size)
        return self.side, self.side

    def tokens(self, size: Size) -> int:  # noqa: ARG002
        return (self.side // self.patch_size) ** 2

    def at_most(self, size: Size, tokens: int) -> Size:  # noqa: ARG002
        return self.full(size)


@dataclass(frozen=True)
class LlavaNext(Family):
    """LLaVA-NeXT: a thumbnail, and the image again in tiles on the best of a few canvases, its padding cut off.

    Source: `LlavaNextProcessor._get_number_of_features` and `select_best_resolution` of `transformers`.
    """

    tile: int
    patch_size: int
    canvases: tuple[Size, ...]

    def shown_size(self, size: Size) -> Size:
        canvas = self._canvas(size)
        across, down = canvas[0] / size[0], canvas[1] / size[1]
        if across < down:
            return canvas[0], min(math.ceil(size[1] * across), canvas[1])
        return min(math.ceil(size[0] * down), canvas[0]), canvas[1]

    def tokens(self, size: Size) -> int:
        width, height = size
        canvas = self._canvas(size)
        across, down = canvas[0] // self.patch_size, canvas[1] // self.patch_size
        if width / height > across / down:
            down -= (down - int(round(height * (across / width), 7))) // 2 * 2
        else:
            across -= (across - int(round(width * (down / height), 7))) // 2 * 2
        thumbnail: int = (self.tile // self.patch_size) ** 2
        return thumbnail + down * across + down  # and one token that ends each row

    def full(self, size: Size) -> Size:
        shown = self.shown_size(size)
        if shown[0] >= size[0] and shown[1] >= size[1]:
            return size  # the processor enlarges it: nothing is gained by sending more
        # Rounding can make another canvas the best one: then the image is sent as it is, for the same price.
        return shown if self.tokens(shown) == self.tokens(size) else size

    def at_most(self, size: Size, tokens: int) -> Size:
        full = self.full(size)
        # A smaller image may cost more, where another canvas fits it better: look at all of them.
        choices = [scaled(full, long_side) for long_side in range(1, max(self.shown_size(full)) + 1)]
        choices = [choice for choice in choices if max(choice) < max(full)] + [full]
        costs = [self.tokens(choice) for choice in choices]
        limit = max(tokens, min(costs))
        return next(choice for choice, cost in zip(reversed(choices), reversed(costs), strict=True) if cost <= limit)

    def _canvas(self, size: Size) -> Size:
        """The canvas that keeps the most of the image's pixels and, among equals, wastes the fewest of its own."""
        width, height = size

        def kept(canvas: Size) -> int:
            scale = min(canvas[0] / width, canvas[1] / height)
            return min(int(width * scale) * int(height * scale), width * height)

        return max(self.canvases, key=lambda canvas: (kept(canvas), -canvas[0] * canvas[1]))


@dataclass(frozen=True)
class OpenAITiles(Family):
    """GPT-4o, GPT-4.1 and others: a base price, and a price a 512-pixel tile.

    Source: OpenAI's "Images and vision", costs at `detail: high`: fit into 2048 x 2048, then bring the shorter side
    down to 768 (images are not enlarged), and count the tiles: 85 + 170 a tile for GPT-4o.
    """

    base_tokens: int
    tile_tokens: int

    def shown_size(self, size: Size) -> Size:
        width, height = _shrunk(size, max(size), 2048)
        return _shrunk((width, height), min(width, height), 768)

    def tokens(self, size: Size) -> int:
        width, height = self.shown_size(size)
        return self.base_tokens + self.tile_tokens * math.ceil(width / 512) * math.ceil(height / 512)


@dataclass(frozen=True)
class OpenAIPatches(Family):
    """GPT-4.1-mini, o4-mini and others: patches of 32 pixels, at most 1536 of them, times a factor a model.

    Source: OpenAI's "Images and vision": an image of more patches is shrunk by sqrt(1536 * 32² / (width * height)),
    and further until whole patches fit its width or height. The factor is 1.62 for GPT-4.1-mini, 1.72 for o4-mini.
    """

    factor: float
    max_patches: int = 1536

    def shown_size(self, size: Size) -> Size:
        width, height = size
        if math.ceil(width / 32) * math.ceil(height / 32) <= self.max_patches:
            return size
        shrink = min(1.0, math.sqrt(self.max_patches * 32**2 / (width * height)))
        across, down = max(1, int(width * shrink / 32)), max(1, int(height * shrink / 32))
        if across * height <= down * width:  # the width loses more by whole patches, so it decides
            return across * 32, max(1, height * across * 32 // width)
        return max(1, width * down * 32 // height), down * 32

    def tokens(self, size: Size) -> int:
        width, height = self.shown_size(size)
        patches = min(self.max_patches, math.ceil(width / 32) * math.ceil(height / 32))
        return math.ceil(round(patches * self.factor, 6))


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        # The limits of the published checkpoints' preprocessor_config.json.
        QwenVL("qwen2-vl", 14, 2, min_pixels=56 * 56, max_pixels=28 * 28 * 16384),
        QwenVL("qwen2.5-vl", 14, 2, min_pixels=56 * 56, max_pixels=28 * 28 * 16384, coordinates="pixels"),
        QwenVL("qwen3-vl", 16, 2, min_pixels=256 * 256, max_pixels=4096 * 4096),
        # The checkpoint that ships with this package: Qwen3-VL's arithmetic on small pictures.
        QwenVL("pocket", 8, 2, min_pixels=64 * 64, max_pixels=256 * 256),
        FixedGrid("llava-1.5", side=336, patch_size=14),
        LlavaNext(
            "llava-next",
            tile=336,
            patch_size=14,
            canvases=((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336)),
        ),
        OpenAITiles("openai-tiles", base_tokens=85, tile_tokens=170),
        OpenAIPatches("openai-patches", factor=1.62),
    )
}
"""The families that are known by name. Others are made the same way: a family is a plain frozen value."""


def family(name: str) -> Family:
    """The family of this name. Raises `ConfigError` where there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"no model family is called {name!r}: choose one of {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]


def _shrunk(size: Size, side: int, most: int) -> Size:
    """`size`, scaled so that the `side` of it becomes `most`, if it is longer."""
    if side <= most:
        return size
    return max(1, size[0] * most // side), max(1, size[1] * most // side)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON ({error}): copy it again from where it came from") from error
    return content if isinstance(content, dict) else {}
