"""The oracle's trajectories, and a policy that learns to write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("verl")

from agentic_vision import VisionAgent
from agentic_vision.errors import ConfigError
from agentic_vision.policies.weights import load_weights
from agentic_vision.rows import Row, read_rows
from agentic_vision.training import recipe as recipes
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa
from agentic_vision.training.imitation import Oracle, imitate
from agentic_vision.training.launch import model_folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_rows(write_pocket_vqa(tmp_path_factory.mktemp("pocket"), 8, 3).parent)


def test_the_oracle_looks_only_where_it_must(rows: list[Row]) -> None:
    recipe = recipes.read("pocket_cpu")
    with model_folder(recipe) as folder:
        weights = load_weights(folder, "cpu", "float32")
    oracle = Oracle(recipe, weights)
    for row in rows:
        record = oracle.record(row)
        said = weights.tokenizer.decode([t for t, own in zip(record.response, record.mask, strict=True) if own])
        assert ("zoom_crop" in said) == (row.kind == "fine") == (len(record.images) == 2)
        assert f"<answer>{row.answer}</answer>" in said


def test_fewer_rows_than_a_batch_are_no_training(rows: list[Row], tmp_path: Path) -> None:
    recipe = recipes.read("pocket_cpu")
    with model_folder(recipe) as folder:
        weights = load_weights(folder, "cpu", "float32")
    with pytest.raises(ConfigError, match="8 rows are no step of 32"):
        imitate(rows, recipe, weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_learns_and_is_served(rows: list[Row], tmp_path: Path) -> None:
    recipe = recipes.read("pocket_cpu")
    with model_folder(recipe) as folder:
        weights = load_weights(folder, "cpu", "float32")
    policy = imitate(rows * 3, recipe, weights, tmp_path, batch=8, learning_rate=3e-4)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "imitation.jsonl").read_text().splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert VisionAgent(str(policy)).ask(list(rows[0].images), rows[0].question).trajectory.turns
