"""What is the model shown? A `View`: a window on a source, at a pixel size; a recipe, not pixels.

A view can be stored, compared and replayed: the same view of the same source renders to the same bytes. All
windows are boxes in the pixels of the upright *source*, however many views lie between, so a crop of a crop
of a rotated glance is still cut from the source at its full detail.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from PIL import Image, ImageEnhance
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, model_validator

from agentic_vision.errors import ImageError, ToolError
from agentic_vision.source import Source
from agentic_vision.token_family import Corners

_Size = tuple[PositiveInt, PositiveInt]

_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow counts its turns anticlockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


class Box(BaseModel):
    """A rectangle in source pixels: x to the right, y down, `(x0, y0)` its upper left corner; never empty.

    It may reach beyond the picture (a model asked for it so): `clipped` is what there is of it.
    """

    model_config = ConfigDict(frozen=True)

    x0: FiniteFloat
    y0: FiniteFloat
    x1: FiniteFloat
    y1: FiniteFloat

    @model_validator(mode="after")
    def _not_empty(self) -> Box:
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return self

    @classmethod
    def of(cls, corners: Corners) -> Box:
        """The box with these corners, in the order `x0, y0, x1, y1`."""
        return cls(x0=corners[0], y0=corners[1], x1=corners[2], y1=corners[3])

    def as_tuple(self) -> Corners:
        """`(x0, y0, x1, y1)`."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def width(self) -> float:
        """Source pixels from left to right."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Source pixels from top to bottom."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Source pixels inside."""
        return self.width * self.height

    def contains(self, other: Box) -> bool:
        """Whether `other` lies wholly inside (shared edges count as inside)."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def intersect(self, other: Box) -> Box | None:
        """The part that both share, `None` where they share no area."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Box(x0=x0, y0=y0, x1=x1, y1=y1) if x0 < x1 and y0 < y1 else None

    def clipped(self, size: tuple[int, int]) -> Box | None:
        """The part inside a picture of `size` (width, height), `None` where the box lies wholly outside."""
        return self.intersect(Box(x0=0, y0=0, x1=size[0], y1=size[1]))


class View(BaseModel):
    """A window on a source and the pixel size at which it is shown, with a turn and a contrast."""

    model_config = ConfigDict(frozen=True)

    source: int = Field(default=0, ge=0, description="index among the question's images")
    source_size: _Size = Field(description="upright width and height of the source, in its pixels")
    box: Box = Field(description="the window, in source pixels")
    size: _Size = Field(description="width and height shown, in pixels, after the rotation")
    rotation: Literal[0, 90, 180, 270] = Field(default=0, description="degrees clockwise")
    contrast: float = Field(default=1.0, gt=0, le=10, description="1 leaves the picture as it is")

    @model_validator(mode="after")
    def _window_on_the_source(self) -> View:
        if not Box(x0=0, y0=0, x1=self.source_size[0], y1=self.source_size[1]).contains(self.box):
            raise ValueError(f"the window {self.box.as_tuple()} reaches beyond the source, {self.source_size}")
        return self

    @classmethod
    def whole(cls, source_size: tuple[int, int], size: tuple[int, int] | None = None, source: int = 0) -> View:
        """The whole source, at `size` or, without one, pixel for pixel."""
        box = Box(x0=0, y0=0, x1=source_size[0], y1=source_size[1])
        return cls(source=source, source_size=source_size, box=box, size=size or source_size)

    @property
    def detail(self) -> float:
        """Shown pixels per source pixel along a side: 1 is full detail, 0.5 half of it."""
        return math.sqrt(self.size[0] * self.size[1] / self.box.area)

    @property
    def is_whole(self) -> bool:
        """Whether the window is the whole source."""
        return self.box.as_tuple() == (0, 0, *self.source_size)

    def render(self, source: Source) -> Image.Image:
        """The pixels: RGB, of exactly `size`, the same bytes every time. Raises `ImageError`."""
        if source.size != self.source_size:
            raise ImageError(
                f"this view is of a picture of {self.source_size[0]} x {self.source_size[1]} pixels, but "
                f"{source.label} has {source.size[0]} x {source.size[1]}: give the one that it was made of"
            )
        image = source.pixels(self.box, self._unturned)
        if self.contrast != 1.0:
            image = ImageEnhance.Contrast(image).enhance(self.contrast)
        return image.transpose(_TURNS[self.rotation]) if self.rotation else image

    def crop(self, box: Box) -> View:
        """A look at `box` (source pixels) at full detail: one shown pixel per source pixel.

        The window takes in every source pixel that `box` touches: whole pixels are copied, never blurred
        between two. Raises `ToolError` where `box` lies wholly outside the source.
        """
        inside = box.clipped(self.source_size)
        if inside is None:
            width, height = self.source_size
            raise ToolError(
                f"the box {tuple(round(side) for side in box.as_tuple())} lies outside the image",
                hint=f"choose a box inside the image, which is {width} x {height} pixels",
            )
        window = Box(
            x0=math.floor(inside.x0),
            y0=math.floor(inside.y0),
            x1=math.ceil(inside.x1),
            y1=math.ceil(inside.y1),
        )
        return self._with(box=window, size=self._turn((int(window.width), int(window.height))))

    def rotated(self, degrees: int) -> View:
        """The same window turned clockwise by a multiple of 90 degrees, on top of any turn it has already.

        Raises `ToolError` for other angles.
        """
        if degrees % 90:
            raise ToolError(f"an image cannot be turned by {degrees} degrees", hint="turn it by 90, 180 or 270")
        size = self.size[::-1] if degrees % 180 else self.size
        return self._with(rotation=(self.rotation + degrees) % 360, size=size)

    def resized(self, size: tuple[int, int]) -> View:
        """The same window at another size (width, height in shown pixels, after the rotation)."""
        return self._with(size=size)

    def enhanced(self, contrast: float) -> View:
        """The same window at this contrast (1 as it is, 2 twice as strong), in place of its own."""
        return self._with(contrast=contrast)

    def to_source(self, box: Corners) -> Box:
        """A rectangle in shown pixels as a box in source pixels: the inverse of `from_source`.

        It is not clipped. Coordinates come to a millionth of a pixel, so whole source pixels return as whole
        numbers however often they went through views. Raises pydantic's `ValidationError` (a `ValueError`)
        for an empty one.
        """
        (width, height), (wide, high) = self.size, self._unturned
        x0, y0, x1, y1 = box
        if self.rotation == 90:
            x0, y0, x1, y1 = y0, width - x1, y1, width - x0
        elif self.rotation == 180:
            x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
        elif self.rotation == 270:
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
        across, down = self.box.width / wide, self.box.height / high
        return Box(
            x0=round(self.box.x0 + x0 * across, 6),
            y0=round(self.box.y0 + y0 * down, 6),
            x1=round(self.box.x0 + x1 * across, 6),
            y1=round(self.box.y0 + y1 * down, 6),
        )

    def from_source(self, box: Box) -> Corners:
        """A box in source pixels as corners in shown pixels: the inverse of `to_source`; not clipped."""
        (width, height), (wide, high) = self.size, self._unturned
        across, down = wide / self.box.width, high / self.box.height
        x0, x1 = (box.x0 - self.box.x0) * across, (box.x1 - self.box.x0) * across
        y0, y1 = (box.y0 - self.box.y0) * down, (box.y1 - self.box.y0) * down
        if self.rotation == 90:
            return width - y1, x0, width - y0, x1
        if self.rotation == 180:
            return width - x1, height - y1, width - x0, height - y0
        if self.rotation == 270:
            return y0, height - x1, y1, height - x0
        return x0, y0, x1, y1

    @property
    def _unturned(self) -> tuple[int, int]:
        return self._turn(self.size)

    def _turn(self, size: tuple[int, int]) -> tuple[int, int]:
        """`size` with its sides exchanged where this view lies on its side (which is its own inverse)."""
        return (size[1], size[0]) if self.rotation in (90, 270) else size

    def _with(self, **changes: Any) -> View:
        return View(**{**dict(self), **changes})  # not model_copy: that would skip the validation
