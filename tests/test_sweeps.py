"""Sweeps: which runs they are made of, and what they cannot say."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentic_vision.errors import ConfigError
from agentic_vision.training import sweep as sweeps
from agentic_vision.training.plans import names


@pytest.mark.parametrize("name", names(sweeps.SWEEPS))
def test_every_sweep_that_ships_is_made_of_recipes(name: str, tmp_path: Path) -> None:
    plan = sweeps.read(name)
    runs = plan.runs(tmp_path, ["steps=3"])
    assert len(runs) == len(plan.seeds) * len(plan.variants)
    assert {recipe.steps for recipe in runs.values()} == {3}
    assert len({recipe.model_copy(update={"name": ""}).model_dump_json() for recipe in runs.values()}) == len(runs)


def test_figure_3a_is_the_papers(tmp_path: Path) -> None:
    runs = sweeps.read("figure_3a").runs(tmp_path, [])
    rewards = {at.parent.name: recipe.side or {} for at, recipe in runs.items()}
    assert rewards["no_penalty"]["weight"] == 0
    assert rewards["every_call"]["threshold"] == 0
    assert rewards["threshold_0.2"]["threshold"] == 0.2
    assert [at.name for at in runs][:3] == ["seed-1"] * 3  # all variants of a seed, before the next


def test_what_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="figure_3a"):
        sweeps.read("figure_4")
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: pocket_smoke\nseeds: []\nvariants: {a: []}\ndescription: x\n")
    with pytest.raises(ConfigError, match="cannot have seeds"):
        sweeps.read(str(path))
