"""What stands in each cell of a picture, as the vision tower is to tell it: true labels, on the agent's own views."""

from __future__ import annotations

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs agentic-vision[local]")

from PIL import Image  # noqa: E402
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil  # noqa: E402

from agentic_vision.training.data.pocket_vqa import CROP_MARGIN, draw_scene  # noqa: E402
from agentic_vision.training.warm_start.architecture import (  # noqa: E402
    CELL,
    COORDINATE_STEP,
)
from agentic_vision.training.warm_start.cells import (  # noqa: E402
    CHARS,
    asked_box,
    cut,
    full,
    glance,
    page,
    patches,
)
from agentic_vision.visual_tokens import family  # noqa: E402


def scene(seed=3, name="cards"):
    return draw_scene(random.Random(seed), "train", name)


def test_patches_are_those_of_the_processor_that_the_checkpoint_names():
    shown = full(scene())
    processor = Qwen2VLImageProcessorPil(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=1,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": 64 * 64, "longest_edge": 256 * 256},
    )
    made = processor(images=[Image.fromarray(shown.pixels)], return_tensors="np")
    assert np.array_equal(made["pixel_values"], patches(shown.pixels))
    assert made["image_grid_thw"].tolist() == [[1, *shown.grid]]


def test_a_glance_is_the_size_that_the_agent_shows():
    pocket = family("pocket")
    for seed in range(20):
        drawn = scene(seed)
        width, height = pocket.glance(drawn.image.size).size
        assert glance(drawn, random.Random(0)).pixels.shape == (height, width, 3)
        width, height = pocket.full(drawn.image.size)
        assert full(drawn).pixels.shape == (height, width, 3)


def test_the_labels_of_a_whole_scene_spell_its_print():
    drawn = scene(5, "receipt")
    shown = full(drawn)
    columns = shown.pixels.shape[1] // CELL
    for question in (q for q in drawn.questions if q.kind == "fine"):
        x0, y0, x1, y1 = question.evidence
        row = int((y0 + y1) / 2 // CELL)
        cells = range(row * columns + int(x0 // CELL), row * columns + int(x1 // CELL) + 1)
        down = int((y0 + y1) / 2 % CELL // 8)
        said = [CHARS[c - 1] for cell in cells for c in shown.labels.chars[cell, down * 4 : down * 4 + 4] if c]
        # Two characters may share a place; then the later one has it.
        assert len(said) >= len(question.answer) - 1
        assert set(said) <= set(question.answer)
        key = shown.labels.keys[list(cells)].sum(axis=0)
        assert key.any()


@pytest.mark.parametrize("name", ["cards", "chart", "receipt", "plan"])
def test_the_cells_of_fine_print_tell_its_answer_and_the_box_to_ask_for(name):
    drawn = scene(5, name)
    shown = full(drawn)
    labels = shown.labels
    told = {}
    for cell in np.flatnonzero(labels.answers[:, 0] >= 0):
        box = tuple(int(step) * COORDINATE_STEP for step in labels.boxes[cell])
        told[box] = "".join(CHARS[c - 1] for c in labels.answers[cell] if c)
    asked = {
        asked_box(q.evidence, drawn.image.size, (CROP_MARGIN,) * 4): q.answer
        for q in drawn.questions
        if q.kind == "fine"
    }
    assert told.items() <= asked.items()
    assert len(told) >= len(asked) / 2  # where two lines share a cell, neither is told


def test_a_glance_has_no_labels_for_print_that_it_has_lost():
    labels = glance(scene(), random.Random(0)).labels
    assert (labels.chars == -1).all()
    assert (labels.answers == -1).all()
    assert (labels.boxes >= 0).any()  # where it stands can be seen all the same
    assert (cut(page(random.Random(0)), random.Random(0)).labels.chars >= 0).all()


def test_a_part_tells_of_print_only_what_it_shows_whole():
    drawn = scene()
    evidence = [q.evidence for q in drawn.questions if q.kind == "fine"]
    for seed in range(50):
        shown = cut(drawn, random.Random(seed))
        x0, y0, x1, y1 = shown.box
        whole = any(x0 <= e[0] and y0 <= e[1] and e[2] <= x1 and e[3] <= y1 for e in evidence)
        assert (shown.labels.boxes >= 0).any() == whole
