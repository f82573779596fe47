"""The first lesson: the vision tower alone learns to tell what stands in every cell."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..data.pocket.ink import COLORS, SHAPES
from ..data.pocket_vqa import draw_scene
from .architecture import COORDINATE_STEP
from .cells import CHARS, KEYS, ORDINALS, PLACES, Window, cut, full, glance, page, patches

KEYS_WEIGHT = 4.0
"""Most cells have no key: their mean is small beside the other losses, and what it teaches, finding, takes longest."""

BOXES_WEIGHT = 0.3
ANSWERS_WEIGHT = 1.0
STEPS = 1000 // COORDINATE_STEP + 1


@dataclass(frozen=True)
class Sight:
    """Windows packed for the tower: patches of all pictures one after the other."""

    patches: torch.Tensor  # (patches, 3 * PATCH * PATCH)
    grid: torch.Tensor  # (pictures, 3): 1, patches down, patches across
    chars: torch.Tensor  # (cells, PLACES)
    ordinals: torch.Tensor  # (cells, PLACES)
    color: torch.Tensor  # (cells,)
    shape: torch.Tensor  # (cells,)
    keys: torch.Tensor  # (cells, KEYS), -1 where unknown
    areas: torch.Tensor  # (cells, KEYS), -1 where unknown
    boxes: torch.Tensor  # (cells, 4), -1 where unknown
    answers: torch.Tensor  # (cells, ORDINALS), -1 where unknown


def pack(windows: list[Window]) -> Sight:
    """Many windows as one input of the tower."""

    def joined(name: str) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([getattr(w.labels, name) for w in windows]))

    return Sight(
        torch.from_numpy(np.concatenate([patches(w.pixels) for w in windows])),
        torch.tensor([(1, *w.grid) for w in windows]),
        joined("chars"),
        joined("ordinals"),
        joined("color"),
        joined("shape"),
        joined("keys"),
        joined("areas"),
        joined("boxes"),
        joined("answers"),
    )


def print_lesson(rng: random.Random) -> Sight:
    """Cuts of dense pages alone: nothing but print, until print is read."""
    return pack([cut(printed, rng) for printed in (page(rng) for _ in range(8)) for _ in range(8)])


def reading_lesson(rng: random.Random) -> Sight:
    """Cuts of dense pages, cuts of scenes, glances and whole scenes."""
    windows = [cut(printed, rng) for printed in (page(rng) for _ in range(2)) for _ in range(8)]
    scenes = [draw_scene(rng, "train") for _ in range(18)]
    windows += [cut(scene, rng) for scene in scenes[:8]]
    windows += [glance(scene, rng) for scene in scenes[:10]]
    windows += [full(scene) for scene in scenes[10:]]
    return pack(windows)


class CellHeads(nn.Module):
    """Linear heads on the merged tokens, thrown away when training ends."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.chars = nn.Linear(width, PLACES * (len(CHARS) + 1))
        self.ordinals = nn.Linear(width, PLACES * (ORDINALS + 1))
        self.color = nn.Linear(width, len(COLORS) + 1)
        self.shape = nn.Linear(width, len(SHAPES) + 1)
        self.keys = nn.Linear(width, len(KEYS))
        self.areas = nn.Linear(width, len(KEYS))
        self.boxes = nn.Linear(width, 4 * STEPS)
        self.answers = nn.Linear(width, ORDINALS * (len(CHARS) + 1))

    def forward(self, cells: torch.Tensor, sight: Sight) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss and accuracies over `cells`, (cells, width)."""
        chars = self.chars(cells).view(-1, PLACES, len(CHARS) + 1)
        ordinals = self.ordinals(cells).view(-1, PLACES, ORDINALS + 1)
        color, shape = self.color(cells), self.shape(cells)
        inked = sight.chars > 0
        legible = sight.chars >= 0
        loss = _spoken(chars, sight.chars, inked, legible) + 0.3 * _spoken(ordinals, sight.ordinals, inked, legible)
        loss = loss + 0.5 * F.cross_entropy(color, sight.color)
        shaped = sight.shape > 0
        loss = loss + 0.5 * _spoken(shape, sight.shape, shaped, sight.shape >= 0)
        known = sight.keys[:, 0] >= 0
        keys, areas = self.keys(cells[known]), self.areas(cells[known])
        loss = loss + KEYS_WEIGHT * (_told(keys, sight.keys[known], 8.0) + _told(areas, sight.areas[known], 3.0))
        framed = sight.boxes[:, 0] >= 0
        boxes, sides = self.boxes(cells[framed]).view(-1, STEPS), sight.boxes[framed].view(-1)
        if len(sides):
            loss = loss + BOXES_WEIGHT * F.cross_entropy(boxes, sides)
        printed = sight.answers[:, 0] >= 0
        answers = self.answers(cells[printed]).view(-1, ORDINALS, len(CHARS) + 1)
        if len(answers):
            loss = loss + ANSWERS_WEIGHT * F.cross_entropy(answers.transpose(1, 2), sight.answers[printed])
        with torch.no_grad():
            wanted = sight.keys[known] > 0
            found = keys > 1.0
            figures = {
                "chars": (chars.argmax(-1) == sight.chars)[inked].float().mean().item(),
                "ordinals": (ordinals.argmax(-1) == sight.ordinals)[inked].float().mean().item(),
                "color": (color.argmax(-1) == sight.color).float().mean().item(),
                "shape": (shape.argmax(-1) == sight.shape)[shaped].float().mean().item(),
                "keys_recall": found[wanted].float().mean().item(),
                "keys_precision": wanted[found].float().mean().item(),
                "areas_recall": (areas > 0.5)[sight.areas[known] > 0].float().mean().item(),
                "sides": ((boxes.argmax(-1) - sides).abs() <= 2).float().mean().item(),
                "answers": (answers.argmax(-1) == sight.answers[printed]).all(1).float().mean().item(),
            }
        return loss, figures


def _told(logits: torch.Tensor, wanted: torch.Tensor, weight: float) -> torch.Tensor:
    """Binary cross entropy in which what is there weighs `weight` times what is not."""
    total = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=torch.tensor(weight), reduction="sum")
    return total / max(1, logits.numel())


def _spoken(logits: torch.Tensor, wanted: torch.Tensor, there: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross entropy in which the many empty places weigh little beside the few that hold something."""
    empty = known & ~there
    held = F.cross_entropy(logits[there], wanted[there], reduction="sum") / max(1, int(there.sum()))
    bare = F.cross_entropy(logits[empty], wanted[empty], reduction="sum") / max(1, int(empty.sum()))
    return held + 0.3 * bare
