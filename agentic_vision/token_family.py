"""What is a model family, to an agent that pays by the visual token? The arithmetic that all families share.

The families themselves are in `visual_tokens`. All sizes are (width, height) in pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from agentic_vision.errors import ConfigError

Size = tuple[int, int]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Coordinates = Literal["pixels", "per_mille"]


@dataclass(frozen=True)
class Glance:
    """The first look, its cost and that of the full image, and whether a floor made it dearer than asked."""

    size: Size
    tokens: int
    full_tokens: int
    floored: bool


@dataclass(frozen=True)
class Family(ABC):
    """A model family's arithmetic. `coordinates` says how its models write boxes on an image they were shown:

    `pixels` of the image after the processor's own resize, or `per_mille`: 0 to 1000 along either side.
    """

    name: str
    coordinates: Coordinates = field(default="per_mille", kw_only=True)

    @abstractmethod
    def shown_size(self, size: Size) -> Size:
        """What the model's own processor makes of an image that is sent at `size`."""

    @abstractmethod
    def tokens(self, size: Size) -> int:
        """Visual tokens of an image sent at `size`."""

    def full(self, size: Size) -> Size:
        """The size at which to send an image or a crop of `size` pixels for the model to see all it can."""
        return self.shown_size(size)

    @lru_cache(maxsize=4096)  # noqa: B019 (families are few and live as long as the process)
    def glance(self, size: Size, fraction: float = 0.25) -> Glance:
        """The largest look at an image of `size` pixels that costs at most `fraction` (0 to 1] of its full
        cost.

        Where the family's smallest cost is above that, it is the smallest look there is, and `floored`; never
        does it cost more than the full image. Raises `ConfigError` for a fraction out of range.
        """
        if not 0 < fraction <= 1:
            raise ConfigError(f"a glance of {fraction} of the visual tokens is impossible: choose from (0, 1]")
        full = self.full(size)
        full_tokens = self.tokens(full)
        budget = math.floor(full_tokens * fraction + 1e-9)  # 0.1 * 1000 tokens are 100, whatever binary floats say
        smaller = self.at_most(size, budget)
        tokens = self.tokens(smaller)
        if tokens >= full_tokens:
            return Glance(full, full_tokens, full_tokens, floored=full_tokens > budget)
        return Glance(smaller, tokens, full_tokens, floored=tokens > budget)

    def at_most(self, size: Size, tokens: int) -> Size:
        """The largest size for an image of `size` pixels, aspect kept, that costs at most `tokens`.

        Never larger than `full`; where no size is that cheap, the cheapest (compare `tokens` of the result).
        This one holds for families whose cost never falls when an image grows.
        """
        full = self.full(size)
        if self.tokens(full) <= tokens:
            return full
        low, high = 1, max(full)  # long sides: `high` is too dear, `low` the best so far
        while high - low > 1:
            middle = (low + high) // 2
            if self.tokens(scaled(full, middle)) <= tokens:
                low = middle
            else:
                high = middle
        best = scaled(full, low)
        if self.tokens(best) <= tokens:
            return best
        return self._cheapest(full)

    def _cheapest(self, full: Size) -> Size:
        """The largest size of the lowest cost: what is left when a budget is below the family's floor."""
        floor = self.tokens(scaled(full, 1))
        return self.at_most(full, floor)

    def to_fractions(self, bbox: Corners, shown: Size) -> Corners:
        """A box as the model writes it, on an image sent at `shown`, as fractions of that image's sides."""
        across, down = self._units(shown)
        return bbox[0] / across, bbox[1] / down, bbox[2] / across, bbox[3] / down

    def from_fractions(self, box: Corners, shown: Size) -> tuple[int, int, int, int]:
        """Fractions of an image sent at `shown` as the model would write the box: whole numbers, nearest."""
        across, down = self._units(shown)
        return round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)

    def _units(self, shown: Size) -> tuple[float, float]:
        return self.shown_size(shown) if self.coordinates == "pixels" else (1000, 1000)


def scaled(size: Size, long_side: int) -> Size:
    """`size` with its longer side made `long_side`, aspect kept, to the nearest pixel."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
