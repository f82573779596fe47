"""PocketVQA: what its rows promise, on really drawn pictures."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from typer.testing import CliRunner

from agentic_vision.errors import ConfigError
from agentic_vision.rows import read_rows
from agentic_vision.training.commands import data
from agentic_vision.training.data.pocket.ink import reserved, reserved_pair
from agentic_vision.training.data.pocket_vqa import SCENES, draw_scene, pocket_rows, write_pocket_vqa
from agentic_vision.visual_tokens import family


def drawn(split, n=40):
    return [draw_scene(random.Random(i), split, name) for i in range(n) for name in SCENES]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_pocket_vqa(tmp_path / name, 12, seed)
    a, b, c = (folder_bytes(tmp_path / name) for name in "abc")
    assert a == b
    assert not set(a.values()) & set(c.values())


def test_a_longer_set_begins_with_the_shorter_one(tmp_path):
    short = write_pocket_vqa(tmp_path / "short", 8, 5).read_text().splitlines()
    long = write_pocket_vqa(tmp_path / "long", 16, 5).read_text().splitlines()
    assert long[:8] == short


def test_rows_are_balanced_and_read_by_the_evaluation(tmp_path):
    rows = read_rows(write_pocket_vqa(tmp_path, 32, 1, "heldout"))
    assert {row.scene for row in rows} == set(SCENES)
    for scene in SCENES:
        assert [row.kind for row in rows if row.scene == scene].count("fine") == 4
    assert all(Path(row.images[0]).is_file() for row in rows)


def test_train_never_shows_what_is_kept_for_heldout():
    for scene in drawn("train"):
        for question in scene.questions:
            if question.kind == "fine":
                digits = int("".join(c for c in question.answer if c.isdigit()))
                assert not reserved(digits), (scene.name, question)
        if scene.name == "cards":
            pairs = {q.text.split()[-2]: q.answer for q in scene.questions if q.text.startswith("What shape")}
            assert not any(reserved_pair(color, shape) for color, shape in pairs.items())


def test_heldout_shows_it_often():
    fine = [q.answer for scene in drawn("heldout") for q in scene.questions if q.kind == "fine"]
    share = sum(reserved(int("".join(c for c in a if c.isdigit()))) for a in fine) / len(fine)
    assert share > 0.25
    cards = [draw_scene(random.Random(i), "heldout", "cards") for i in range(40)]
    for scene in cards:
        pairs = {q.text.split()[-2]: q.answer for q in scene.questions if q.text.startswith("What shape")}
        assert any(reserved_pair(color, shape) for color, shape in pairs.items())


def test_a_question_has_one_answer_in_its_picture():
    for scene in drawn("train") + drawn("heldout"):
        answers: dict[str, str] = {}
        for question in scene.questions:
            assert answers.setdefault(question.text, question.answer) == question.answer, (scene.name, question)


def test_each_scene_asks_coarse_and_fine_and_the_receipts_add_up():
    for scene in drawn("train"):
        assert {q.kind for q in scene.questions} == {"coarse", "fine"}
    for i in range(20):
        scene = draw_scene(random.Random(i), "train", "receipt")
        answers = {q.text: q.answer for q in scene.questions}
        prices = [answers["What is the price of the first item?"], answers["What is the price of the last item?"]]
        if answers["How many items are on the receipt?"] == "2":
            cents = sum(round(float(p) * 100) for p in prices)
            assert answers["What is the total?"] == f"{cents // 100}.{cents % 100:02d}"


def test_evidence_lies_in_the_picture_and_holds_the_print_that_is_asked_for():
    for scene in drawn("train"):
        width, height = scene.image.size
        for q in scene.questions:
            x0, y0, x1, y1 = q.evidence
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            if q.kind == "fine":
                inside = [
                    g.char
                    for g in scene.glyphs
                    if x0 <= (g.box[0] + g.box[2]) / 2 <= x1 and y0 <= (g.box[1] + g.box[3]) / 2 <= y1
                ]
                assert "".join(inside) == q.answer, (scene.name, q)


def test_fine_print_is_legible_in_full_and_lost_in_a_glance():
    """Characters are 7 to 9 pixels high, so 3.5 to 4.5 after the glance; and the glance really holds less of them."""
    for scene in drawn("train", 10):
        for q in scene.questions:
            if q.kind == "fine":
                height = q.evidence[3] - q.evidence[1]
                assert 6 <= height <= 11, (scene.name, q)
    size = (192, 192)
    glance = family("pocket").glance(size)
    assert glance.tokens * 4 <= glance.full_tokens
    assert glance.size[0] * 2 == size[0]


def test_two_numbers_that_differ_in_one_digit_differ_in_the_picture():
    from agentic_vision.training.data.pocket.ink import Sheet

    images = []
    for text in ("417", "411"):
        sheet = Sheet("page", (64, 64), (250, 250, 250), random.Random(0))
        sheet.text((10, 20), text, 11, (0, 0, 0))
        images.append(sheet.finish().image)
    assert ImageChops.difference(*images).getbbox() is not None


def test_sufficient_tokens_cost_less_than_full_resolution():
    pocket = family("pocket")
    for row, scene in pocket_rows(40, 2, "train"):
        full = pocket.tokens(pocket.full(scene.image.size))
        assert row["sufficient"]["visual_tokens"] < 0.55 * full
        assert (row["sufficient"]["tool"] is None) == (row["kind"] == "coarse")


def test_the_command_prints_one_json_object(tmp_path):
    result = CliRunner().invoke(data, ["pocket", str(tmp_path), "--n", "4", "--split", "heldout", "--json"])
    assert result.exit_code == 0
    said = json.loads(result.output)
    assert said["n"] == 4
    assert len(read_rows(said["rows"])) == 4
    with Image.open(tmp_path / "images" / "heldout-0-000000.png") as image:
        assert image.mode == "RGB"


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        write_pocket_vqa(tmp_path / "file" / "out", 1, 0)
    with pytest.raises(ConfigError, match="1 or more"):
        write_pocket_vqa(tmp_path, 0, 0)
