"""The sheet that scenes are drawn on: colours, shapes and text, each remembered with the place where it stands.

Everything is drawn with Pillow and its own bundled font: one seed gives the same bytes wherever the same Pillow runs.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Rect = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture."""
Rgb = tuple[int, int, int]
Split = Literal["train", "heldout"]

COLORS: dict[str, Rgb] = {
    "red": (208, 38, 42),
    "orange": (240, 130, 24),
    "yellow": (246, 214, 40),
    "green": (36, 148, 62),
    "cyan": (64, 196, 206),
    "blue": (36, 76, 204),
    "purple": (126, 52, 168),
    "pink": (244, 132, 182),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
CODE_LETTERS = "ACEFHKLMPT"


@dataclass(frozen=True)
class Glyph:
    """One printed character: its box and its place (from 0) in the string that it belongs to."""

    char: str
    box: Rect
    ordinal: int


@dataclass(frozen=True)
class Region:
    """A coloured area or a shape; later regions lie on top of earlier ones."""

    box: Rect
    color: str | None = None
    shape: str | None = None


@dataclass(frozen=True)
class Question:
    """A question of a scene. `evidence` is the box (pixels) that the answer is read from.

    `subject` is what else has to be seen to know that it is the one asked for, such as the card around the number; None
    where that takes the whole picture ("the tallest bar").
    """

    text: str
    answer: str
    kind: Literal["coarse", "fine"]
    evidence: Rect
    subject: Rect | None = None


@dataclass
class Scene:
    """A drawn picture, what can be asked of it, and where everything stands."""

    name: str
    image: Image.Image
    questions: list[Question] = field(default_factory=list)
    glyphs: list[Glyph] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
    return font


class Sheet:
    """A picture being drawn; `finish` gives the `Scene`."""

    def __init__(self, name: str, size: tuple[int, int], background: Rgb, rng: random.Random) -> None:
        self.rng = rng
        self.size = size
        self.image = Image.new("RGB", size, background)
        self.draw = ImageDraw.Draw(self.image)
        self.scene = Scene(name, self.image)

    def tint(self, color: str) -> Rgb:
        """The named colour, a little off: no two red things are the same red."""
        r, g, b = (max(0, min(255, c + self.rng.randint(-14, 14))) for c in COLORS[color])
        return r, g, b

    def region(self, box: Rect, color: str | None = None, shape: str | None = None) -> None:
        self.scene.regions.append(Region(box, color, shape))

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: float,
        fill: Rgb,
        *,
        anchor: Literal["left", "middle", "right"] = "left",
        bold: bool = False,
        spacing: float = 0.0,
    ) -> Rect:
        """Prints `text` with its top at `at[1]`; returns the box of its ink. `size` is the font's, in pixels:
        capitals and digits are about 0.72 of it high."""
        font = _font(round(size * 4) / 4)
        spacing += 0.8 * bold
        width = sum(font.getlength(c) for c in text) + spacing * (len(text) - 1)
        x = at[0] - {"left": 0.0, "middle": width / 2, "right": width}[anchor]
        boxes: list[Rect] = []
        for ordinal, char in enumerate(text):
            stroke = 0.4 if bold else 0.0
            self.draw.text((x, at[1]), char, font=font, fill=fill, stroke_width=stroke)
            x0, y0, x1, y1 = font.getbbox(char)
            box = (x + x0 - stroke, at[1] + y0 - stroke, x + x1 + stroke, at[1] + y1 + stroke)
            if char != " ":
                boxes.append(box)
                self.scene.glyphs.append(Glyph(char, box, ordinal))
            x += font.getlength(char) + spacing
        return hull(boxes)

    def shape(self, shape: str, box: Rect, fill: Rgb) -> None:
        """Fills one of `SHAPES` into a square box."""
        x0, y0, x1, y1 = box
        cx, cy, r = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2
        if shape == "circle":
            self.draw.ellipse(box, fill=fill)
        elif shape == "square":
            self.draw.rectangle((x0 + r * 0.12, y0 + r * 0.12, x1 - r * 0.12, y1 - r * 0.12), fill=fill)
        elif shape == "triangle":
            self.draw.polygon([(cx, y0), (x1, y1), (x0, y1)], fill=fill)
        elif shape == "diamond":
            self.draw.polygon([(cx, y0), (x1, cy), (cx, y1), (x0, cy)], fill=fill)
        elif shape == "cross":
            t = r * 0.34
            self.draw.rectangle((cx - t, y0, cx + t, y1), fill=fill)
            self.draw.rectangle((x0, cy - t, x1, cy + t), fill=fill)
        elif shape == "star":
            points = []
            for i in range(10):
                radius = r * 1.08 if i % 2 == 0 else r * 0.46
                angle = -math.pi / 2 + i * math.pi / 5
                points.append((cx + radius * math.cos(angle), cy + radius * math.sin(angle)))
            self.draw.polygon(points, fill=fill)
        else:
            raise ValueError(f"{shape!r} is none of the shapes {SHAPES}")
        self.region(box, shape=shape)

    def ask(
        self,
        text: str,
        answer: str,
        kind: Literal["coarse", "fine"],
        evidence: Rect,
        subject: Rect | None = None,
    ) -> None:
        width, height = self.size
        x0, y0, x1, y1 = evidence
        inside = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        self.scene.questions.append(Question(text, answer, kind, inside, subject))

    def finish(self) -> Scene:
        return self.scene


def hull(boxes: list[Rect]) -> Rect:
    """The smallest box around all of `boxes`."""
    return (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))


def ink_for(background: Rgb, rng: random.Random) -> Rgb:
    """A text colour that stands out from `background`."""
    light = 0.3 * background[0] + 0.59 * background[1] + 0.11 * background[2]
    shade = rng.randint(0, 40) if light > 120 else rng.randint(225, 255)
    return shade, shade, shade


def paper(rng: random.Random) -> Rgb:
    """A background: mostly light, sometimes dark, never one of the named colours."""
    if rng.random() < 0.15:
        shade = rng.randint(30, 60)
        return shade, shade + rng.randint(-4, 4), shade + rng.randint(-4, 12)
    shade = rng.randint(228, 255)
    return shade, shade - rng.randint(0, 8), shade - rng.randint(0, 14)


def text_size(rng: random.Random) -> float:
    """Fine print: characters 7 to 9 pixels high, so 3.5 to 4.5 in a glance at a quarter of the tokens."""
    return rng.choice((10.0, 10.5, 11.0, 11.5, 12.0, 12.5))


def reserved(value: int) -> bool:
    """Numbers that only the held-out split has as answers: one in seven."""
    return value % 7 == 3


def pick_number(rng: random.Random, low: int, high: int, split: Split) -> int:
    """A number that may be an answer. Train never has a reserved one, held-out has one half of the time."""
    want = split == "heldout" and rng.random() < 0.5
    while True:
        value = rng.randint(low, high)
        if reserved(value) == want:
            return value


def pick_code(rng: random.Random, split: Split) -> str:
    """A label such as `K27`; the number obeys the split."""
    return rng.choice(CODE_LETTERS) + str(pick_number(rng, 10, 99, split))


def reserved_pair(color: str, shape: str) -> bool:
    """Colour-with-shape pairs that only the held-out split draws: one in four."""
    return (list(COLORS).index(color) + SHAPES.index(shape)) % 4 == 0


def pick_pairs(rng: random.Random, n: int, split: Split) -> list[tuple[str, str]]:
    """n pairs of colour and shape, all colours and all shapes different.
    Train draws no reserved pair; held-out draws at least one."""
    while True:
        pairs = list(zip(rng.sample(list(COLORS), n), rng.sample(SHAPES, n), strict=True))
        if any(reserved_pair(*pair) for pair in pairs) == (split == "heldout"):
            return pairs


def corner_of(center: tuple[float, float], size: tuple[int, int], margin: float = 0.08) -> str | None:
    """Which quarter of the picture a point lies in; None near the middle lines, where people would not agree."""
    x, y = center[0] / size[0] - 0.5, center[1] / size[1] - 0.5
    if abs(x) < margin or abs(y) < margin:
        return None
    return f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
