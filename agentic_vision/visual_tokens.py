"""What does it cost to show an image to a model of this family, and at which size does it see all it can?

The agent sends images at sizes that a family's own processor leaves as they are, wherever there are such
sizes, so that what is counted here is what the model sees. The arithmetic is checked in the tests against the
processors of `transformers` and, for closed models, against the published formulas. All sizes are (width,
height) in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agentic_vision.errors import ConfigError
from agentic_vision.qwen_tokens import QWEN2_5_VL, QWEN2_VL, QWEN3_VL, QwenVL
from agentic_vision.token_family import Family, Glance, Size, scaled

__all__ = [
    "FAMILIES",
    "Family",
    "FixedGrid",
    "Glance",
    "LlavaNext",
    "OpenAIPatches",
    "OpenAITiles",
    "PatchGrid",
    "QwenVL",
    "family",
]


@dataclass(frozen=True)
class FixedGrid(Family):
    """LLaVA-1.5 and its like: every image becomes one square, at one price.

    The processor would crop what is not square, so images are sent as squares: the model sees all of them,
    and what it points at is where it says. Source: `LlavaImageProcessor`; (side / patch_size)² tokens.
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
    """LLaVA-NeXT: a thumbnail, and the image again in tiles on the best of a few canvases, its padding cut
    off.

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
        # A smaller image may cost more, where another canvas fits it better: look at all of them, down to
        # the size of the thumbnail, below which there is only detail to lose.
        choices = [scaled(full, long_side) for long_side in range(self.tile, max(full))] + [full]
        costs = [self.tokens(choice) for choice in choices]
        limit = max(tokens, min(costs))
        return next(choice for choice, cost in zip(reversed(choices), reversed(costs), strict=True) if cost <= limit)

    def _canvas(self, size: Size) -> Size:
        """The canvas that keeps the most of the image's pixels and, among equals, wastes the fewest of its
        own.
        """
        width, height = size

        def kept(canvas: Size) -> int:
            scale = min(canvas[0] / width, canvas[1] / height)
            return min(int(width * scale) * int(height * scale), width * height)

        return max(self.canvases, key=lambda canvas: (kept(canvas), -canvas[0] * canvas[1]))


@dataclass(frozen=True)
class OpenAITiles(Family):
    """GPT-4o, GPT-4.1 and others: a base price, and a price a 512-pixel tile.

    Source: OpenAI's "Images and vision", costs at `detail: high`: fit into 2048 x 2048, then bring the
    shorter side down to 768 (images are not enlarged), and count the tiles: 85 + 170 a tile for GPT-4o.
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

    Source: OpenAI's "Images and vision": an image of more patches is shrunk by sqrt(1536 * 32² / (width *
    height)), and further until whole patches fit its width or height. The factor is 1.62 for GPT-4.1-mini,
    1.72 for o4-mini.
    """

    factor: float
    max_patches: int = 1536

    def shown_size(self, size: Size) -> Size:
        width, height = size
        if math.ceil(width / 32) * math.ceil(height / 32) <= self.max_patches:
            return size
        shrink = math.sqrt(self.max_patches * 32**2 / (width * height))
        across, down = int(width * shrink / 32), int(height * shrink / 32)
        if not (across and down):
            return size  # a strip so thin that the formula would enlarge it: charged at the maximum
        if across * height <= down * width:  # the width loses more by whole patches, so it decides
            return across * 32, math.ceil(height * across * 32 / width)
        return math.ceil(width * down * 32 / height), down * 32

    def tokens(self, size: Size) -> int:
        width, height = self.shown_size(size)
        patches = min(self.max_patches, math.ceil(width / 32) * math.ceil(height / 32))
        return math.ceil(round(patches * self.factor, 6))


@dataclass(frozen=True)
class PatchGrid(Family):
    """Claude: a token a patch, the image padded to whole patches, and shrunk where a side or the cost is too large.

    Source: Anthropic's "Vision": ceil(width / 28) * ceil(height / 28) tokens; at most 1568 pixels a side and 1568
    tokens, which its table of largest sizes (1092 x 1092, 951 x 1268, 784 x 1568, ...) agrees with.
    """

    patch_size: int
    max_side: int
    max_tokens: int

    def shown_size(self, size: Size) -> Size:
        low, high = 0, min(max(size), self.max_side)
        while low < high:  # the longest side that is allowed: the cost never falls when an image grows
            middle = (low + high + 1) // 2
            allowed = self._patches(scaled(size, middle)) <= self.max_tokens
            low, high = (middle, high) if allowed else (low, middle - 1)
        return size if low == max(size) else scaled(size, low)

    def tokens(self, size: Size) -> int:
        return self._patches(self.shown_size(size))

    def _patches(self, size: Size) -> int:
        return math.ceil(size[0] / self.patch_size) * math.ceil(size[1] / self.patch_size)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        QWEN2_VL,
        QWEN2_5_VL,
        QWEN3_VL,
        # The checkpoint that ships with this package: Qwen3-VL's arithmetic on small pictures.
        QwenVL("pocket", 8, 2, min_pixels=64 * 64, max_pixels=256 * 256),
        FixedGrid("llava-1.5", side=336, patch_size=14),
        LlavaNext(
            "llava-next",
            tile=336,
            patch_size=14,
            canvases=((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336)),
        ),
        # By OpenAI's "Images and vision": GPT-4o, 4.1; GPT-5; o1, o3; GPT-4o-mini; then those that count patches:
        # GPT-4.1-mini, GPT-5-mini; GPT-4.1-nano, GPT-5-nano; o4-mini.
        OpenAITiles("openai-tiles", base_tokens=85, tile_tokens=170),
        OpenAITiles("openai-tiles-gpt-5", base_tokens=70, tile_tokens=140),
        OpenAITiles("openai-tiles-o", base_tokens=75, tile_tokens=150),
        OpenAITiles("openai-tiles-4o-mini", base_tokens=2833, tile_tokens=5667),
        OpenAIPatches("openai-patches", factor=1.62),
        OpenAIPatches("openai-patches-nano", factor=2.46),
        OpenAIPatches("openai-patches-o4", factor=1.72),
        PatchGrid("claude", patch_size=28, max_side=1568, max_tokens=1568, coordinates="pixels"),
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
