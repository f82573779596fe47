"""A label in every cell: what stands in each 16 x 16 pixels of a picture, as the vision tower is to tell it.

A tower that starts from nothing learns to read from these within minutes; from answers alone it does not within hours.
Cells follow the order of the model's visual tokens: row by row.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..data.pocket.ink import COLORS, CORNERS, SHAPES, Rect, Scene, Sheet, ink_for, paper
from ..data.pocket_vqa import CROP_MARGIN
from .architecture import CELL, COORDINATE_STEP, MERGE, PATCH

CHARS = string.digits + string.ascii_uppercase + "."
PLACES = 8
"""Places for a character in a cell: 4 across, 2 down, each 4 x 8 pixels."""
ORDINALS = 6
KEYS = (
    *COLORS, *SHAPES, *CORNERS, "tallest", "shortest", "largest", "total", "first item", "last item", "value", "label",
)  # fmt: skip
"""Words of a question that tell what it asks about."""

LEGIBLE = 0.9
"""Below this scale the characters are lost, and there is nothing to learn of them."""

RESAMPLE = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)


@dataclass(frozen=True)
class Labels:
    """For n cells. 0 means none in every class; -1 (in `chars`, `ordinals`, `keys`) that it cannot be known here."""

    chars: np.ndarray  # (n, PLACES) index into CHARS + 1
    ordinals: np.ndarray  # (n, PLACES) place in the string + 1
    color: np.ndarray  # (n,) index into COLORS + 1
    shape: np.ndarray  # (n,) index into SHAPES + 1
    keys: np.ndarray  # (n, len(KEYS)) 1 where a fine question with that word finds its print
    areas: np.ndarray  # (n, len(KEYS)) 1 all over the thing that a coarse question with that word asks about
    boxes: np.ndarray  # (n, 4) the box (steps) that a call would ask for to read this print; -1 where there is no one
    answers: np.ndarray  # (n, ORDINALS) the answer that is printed here, as `chars`, 0 after its end; -1 likewise


@dataclass(frozen=True)
class Window:
    """A picture as the model gets it, with its labels."""

    pixels: np.ndarray  # (height, width, 3) uint8, sides divide by CELL
    labels: Labels
    box: Rect  # what of the scene it shows, in the scene's pixels

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return self.pixels.shape[0] // PATCH, self.pixels.shape[1] // PATCH

    @property
    def cells(self) -> tuple[int, int]:
        """Cells down and across."""
        return self.pixels.shape[0] // CELL, self.pixels.shape[1] // CELL

    def cells_in(self, area: Rect) -> tuple[int, ...]:
        """The cells that show some of `area` (pixels of the scene)."""
        height, width, _ = self.pixels.shape
        scale = (width / (self.box[2] - self.box[0]), height / (self.box[3] - self.box[1]))
        x0, x1 = ((area[i] - self.box[0]) * scale[0] / CELL for i in (0, 2))
        y0, y1 = ((area[i] - self.box[1]) * scale[1] / CELL for i in (1, 3))
        rows = range(max(0, int(y0)), min(height // CELL - 1, int(y1)) + 1)
        columns = range(max(0, int(x0)), min(width // CELL - 1, int(x1)) + 1)
        return tuple(row * (width // CELL) + column for row in rows for column in columns)


def patches(pixels: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 to (patches, 3 * PATCH * PATCH) float32, in order and scale as of Qwen's processor."""
    height, width, _ = pixels.shape
    rows, columns = height // CELL, width // CELL
    cut = pixels.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    return cut.reshape(rows * columns * MERGE * MERGE, -1).astype(np.float32) / 127.5 - 1.0


def fit(size: tuple[float, float], scale: float, most: int = 256, least: int = 16) -> tuple[int, int]:
    """The nearest pixel size in whole cells, between `least` and `most` cells in all."""
    columns, rows = (max(1, round(side * scale / CELL)) for side in size)
    while columns * rows > most:
        columns, rows = (columns - 1, rows) if columns >= rows else (columns, rows - 1)
    while columns * rows < least:
        columns, rows = (columns + 1, rows) if columns <= rows else (columns, rows + 1)
    return columns * CELL, rows * CELL


def asked_box(evidence: Rect, size: tuple[float, float], pad: tuple[float, float, float, float]) -> tuple[int, ...]:
    """The box of a call: `evidence` with `pad` pixels (left, top, right, bottom), in steps of the coordinates."""
    x0, y0, x1, y1 = evidence
    width, height = size
    scaled = ((x0 - pad[0]) / width, (y0 - pad[1]) / height, (x1 + pad[2]) / width, (y1 + pad[3]) / height)
    most = 1000 // COORDINATE_STEP
    steps = [min(most, max(0, round(value * most))) for value in scaled]
    return tuple(step * COORDINATE_STEP for step in steps)


def window(scene: Scene, box: Rect, size: tuple[int, int], resample: Image.Resampling, *, whole: bool) -> Window:
    """Cuts `box` from the scene at `size`; `whole` says that all that the keys speak of can be seen in it."""
    image = scene.image
    if box != (0, 0, *image.size) or size != image.size:
        image = image.resize(size, resample, box=box)
    scale = (size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
    columns, rows = size[0] // CELL, size[1] // CELL
    n = columns * rows
    chars, ordinals = np.zeros((n, PLACES), np.int64), np.zeros((n, PLACES), np.int64)
    keys = np.zeros((n, len(KEYS)), np.float32)
    fine = [
        (q.evidence, q.answer, [i for i, key in enumerate(KEYS) if key in q.text])
        for q in scene.questions
        if q.kind == "fine"
    ]
    asked: dict[int, set[tuple[Rect, str]]] = {}
    for glyph in scene.glyphs:
        cx, cy = (glyph.box[0] + glyph.box[2]) / 2, (glyph.box[1] + glyph.box[3]) / 2
        x, y = (cx - box[0]) * scale[0], (cy - box[1]) * scale[1]
        if not (0 <= x < size[0] and 0 <= y < size[1]):
            continue
        cell = int(y // CELL) * columns + int(x // CELL)
        place = int(y % CELL // 8) * 4 + int(x % CELL // 4)
        if glyph.char in CHARS:
            chars[cell, place] = CHARS.index(glyph.char) + 1
            ordinals[cell, place] = min(glyph.ordinal, ORDINALS - 1) + 1
        for evidence, answer, indexes in fine:
            if evidence[0] <= cx <= evidence[2] and evidence[1] <= cy <= evidence[3]:
                keys[cell, indexes] = 1
                asked.setdefault(cell, set()).add((evidence, answer))
    color, shape = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.int64)
    for region in scene.regions:
        x0, x1 = ((region.box[i] - box[0]) * scale[0] / CELL for i in (0, 2))
        y0, y1 = ((region.box[i] - box[1]) * scale[1] / CELL for i in (1, 3))
        # A coloured area holds the cells whose middle it covers; a shape, being small, those it enters by a quarter.
        reach = 0.5 if region.color else 0.25
        down = slice(max(0, round(y0 + 0.5 - reach)), max(0, round(y1 - 0.5 + reach)))
        across = slice(max(0, round(x0 + 0.5 - reach)), max(0, round(x1 - 0.5 + reach)))
        if region.color:
            color[down, across] = list(COLORS).index(region.color) + 1
        if region.shape:
            shape[down, across] = SHAPES.index(region.shape) + 1
    areas = np.zeros_like(keys)
    for question in scene.questions:
        x0, y0, x1, y1 = question.evidence
        if question.kind == "coarse" and (x1 - x0) * (y1 - y0) < 0.6 * scene.image.width * scene.image.height:
            left, right = ((x - box[0]) * scale[0] / CELL for x in (x0, x1))
            upper, lower = ((y - box[1]) * scale[1] / CELL for y in (y0, y1))
            inside = [i for i, key in enumerate(KEYS) if key in question.text]
            down, across = slice(max(0, round(upper)), round(lower)), slice(max(0, round(left)), round(right))
            areas.reshape(rows, columns, -1)[down, across, inside] = 1
    if not whole:
        keys[:], areas[:] = -1, -1
    boxes, answers = np.full((n, 4), -1, np.int64), np.full((n, ORDINALS), -1, np.int64)
    for cell, things in asked.items():
        evidence, answer = min(things)
        # Two pieces of print in one cell: the label could only be the mean of theirs.
        if len(things) == 1 and _holds(box, evidence):
            boxes[cell] = _steps_around(evidence, box)
            answers[cell] = [CHARS.index(c) + 1 for c in answer] + [0] * (ORDINALS - len(answer))
    if min(scale) < LEGIBLE:
        chars[:], ordinals[:], answers[:] = -1, -1, -1
    labels = Labels(chars, ordinals, color.reshape(-1), shape.reshape(-1), keys, areas, boxes, answers)
    return Window(np.asarray(image), labels, box)


def _holds(outer: Rect, inner: Rect) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def _steps_around(evidence: Rect, shown: Rect) -> list[int]:
    """The steps of the box that a call asks for to read `evidence`, in a picture that shows `shown`."""
    x0, y0, x1, y1 = shown
    inside = (evidence[0] - x0, evidence[1] - y0, evidence[2] - x0, evidence[3] - y0)
    return [value // COORDINATE_STEP for value in asked_box(inside, (x1 - x0, y1 - y0), (CROP_MARGIN,) * 4)]


def glance(scene: Scene, rng: random.Random) -> Window:
    """The whole scene at a quarter of its visual tokens."""
    size = scene.image.size
    return window(scene, (0, 0, *size), fit(size, 0.5), rng.choice(RESAMPLE), whole=True)


def full(scene: Scene) -> Window:
    """The whole scene, pixel by pixel."""
    size = scene.image.size
    return window(scene, (0, 0, *size), fit(size, 1.0), RESAMPLE[0], whole=True)


def cut(scene: Scene, rng: random.Random, side: int = 64) -> Window:
    """A square of `side` pixels from anywhere in the scene, as it is or enlarged."""
    span = side / rng.uniform(1.0, 1.6)
    width, height = scene.image.size
    x, y = rng.uniform(0, width - span), rng.uniform(0, height - span)
    if rng.random() < 0.4:  # as it is: no resampling blurs it
        x, y, span = float(int(x)), float(int(y)), float(side)
        x, y = min(x, width - span), min(y, height - span)
    return window(scene, (x, y, x + span, y + span), (side, side), rng.choice(RESAMPLE), whole=False)


def page(rng: random.Random, side: int = 104) -> Scene:
    """A square full of print: as many characters to the pixel as fit."""
    sheet = Sheet("page", (side, side), paper(rng), rng)
    fill = None
    if rng.random() < 0.7:
        color = rng.choice(list(COLORS))
        fill = sheet.tint(color)
        sheet.draw.rectangle((0, 0, side, side), fill=fill)
        sheet.region((0, 0, side, side), color=color)
    ink = ink_for(fill or sheet.image.getpixel((0, 0)), rng)  # type: ignore[arg-type]
    y = rng.uniform(-6, 3)
    while y < side - 5:
        size = rng.uniform(9.5, 17.0) if rng.random() < 0.5 else rng.uniform(9.5, 13.0)
        x = rng.uniform(-8, 6)
        while x < side - 3:
            text = _string(rng)
            box = sheet.text((x, y), text, size, ink, bold=rng.random() < 0.3, spacing=rng.choice((0, 0, 0.5, 1)))
            x = box[2] + rng.uniform(3, 9)
        y += size * rng.uniform(1.05, 1.5)
    return sheet.finish()


def _string(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return "".join(rng.choice(string.digits) for _ in range(rng.randint(2, 5)))
    if kind < 0.7:
        return f"{rng.randint(0, 99)}.{rng.randint(0, 99):02d}"
    if kind < 0.9:
        return rng.choice("ACEFHKLMPT") + str(rng.randint(10, 99))
    return "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(2, 5)))
