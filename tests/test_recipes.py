"""Recipes: what they may say, what verl makes of them, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("verl")

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError
from agentic_vision.training import recipe as recipes
from agentic_vision.training.imports import absolute, load, made
from agentic_vision.training.launch import compose_run, environment
from agentic_vision.training.plans import names
from agentic_vision.training.rewards import ExactMatch
from agentic_vision.training.rewards.reward import as_reward

OWN = """
from agentic_vision.training import ExactMatch, FunctionReward

def shout(trajectory, reference):
    return float((trajectory.answer or "").isupper())

def reward(weight=0.5):
    return ExactMatch() + weight * FunctionReward(shout)

constant = ExactMatch()
"""


@pytest.mark.parametrize("name", names(recipes.RECIPES))
def test_verl_takes_every_recipe_that_ships(name: str, tmp_path: Path) -> None:
    plan = recipes.read(name)
    config, check = compose_run(plan, tmp_path)
    check(config)
    assert config.data.train_batch_size == plan.prompts
    assert config.actor_rollout_ref.rollout.n == plan.rollouts
    assert config.actor_rollout_ref.actor.optim.lr == plan.learning_rate
    assert config.algorithm.adv_estimator == plan.advantage
    assert config.trainer.device == plan.device
    assert config.trainer.v1.sampler.sampler_kwargs.reward == plan.reward
    as_reward(made(plan.reward))


@pytest.mark.parametrize(("device", "engine"), [("cpu", "CpuEngine"), ("cuda", "FreezingEngine")])
def test_what_is_frozen_is_frozen_on_every_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, engine: str
) -> None:
    from verl.utils.import_utils import import_external_libs
    from verl.workers.engine.base import EngineRegistry

    config, check = compose_run(recipes.read("pocket_cpu", [f"device={device}"]), tmp_path)
    check(config)
    model = config.actor_rollout_ref.model
    assert model.exclude_modules == "visual|embed_tokens"
    import_external_libs(model.external_lib)
    monkeypatch.setenv("VERL_ENGINE_DEVICE", device)
    monkeypatch.setenv("VERL_ENGINE_VENDOR", {"cpu": "cpu", "cuda": "nvidia"}[device])
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2").__name__ == engine


def test_changes_reach_verl(tmp_path: Path) -> None:
    clip = "verl.actor_rollout_ref.actor.clip_ratio=0.3"
    changes = ["learning_rate=1e-6", "reward.threshold=0", "agent.tools=[full_res]", clip]
    plan = recipes.read("pocket_smoke", changes)
    config, check = compose_run(plan, tmp_path)
    check(config)
    assert config.actor_rollout_ref.actor.optim.lr == 1e-6
    assert config.trainer.v1.sampler.sampler_kwargs.reward.threshold == 0
    assert config.actor_rollout_ref.actor.clip_ratio == 0.3
    assert plan.agent.tools == ("full_res",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["stepz=3"], "cannot have stepz"),
        (["steps=0"], "cannot have steps"),
        (["agent.glance=2"], r"cannot have agent\.glance"),
        (["steps"], "write key=value"),
        (["steps.more=1"], "steps is a value"),
        (["pocket=null"], "needs data"),
    ],
)
def test_what_a_recipe_cannot_say(changes: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        recipes.read("pocket_smoke", changes)


def test_verl_settings_that_it_does_not_know_or_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.nonsense"):
        compose_run(recipes.read("pocket_smoke", ["verl.trainer.nonsense=1"]), tmp_path)
    uneven = recipes.read("pocket_smoke", ["verl.actor_rollout_ref.actor.ppo_mini_batch_size=64"])
    config, check = compose_run(uneven, tmp_path)
    with pytest.raises(ConfigError, match="verl refuses"):
        check(config)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="pocket_smoke"):
        recipes.read("pocket_smok")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((recipes.RECIPES / "pocket_smoke.yaml").read_text())
    assert recipes.read(str(path)).name == "mine"
    path.write_text("- no: recipe")
    with pytest.raises(ConfigError, match="no settings"):
        recipes.read(str(path))
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        recipes.read(str(path))


class TestOwnThings:
    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "own.py"
        path.write_text(OWN)
        return str(path)

    def test_from_a_file(self, file: str) -> None:
        assert isinstance(made({"target": f"{file}:constant"}), ExactMatch)
        weighed: Any = made({"target": f"{file}:reward", "weight": 0.25})
        assert [part.name for part in weighed.needs[:1]] == ["accuracy"]
        assert load(f"{file}:shout") is load(f"{file}:shout")  # a file is run once

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({}, "needs a target"),
            ({"target": "no_colon"}, "names nothing"),
            ({"target": "no.such.module:reward"}, "cannot import"),
            ({"target": "json:no_such"}, "has no no_such"),
            ({"target": "agentic_vision.training.recipes.rewards:vision_think", "treshold": 1}, "does not take"),
        ],
    )
    def test_what_cannot_be_made(self, settings: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint):
            made(settings)

    def test_files_are_found_from_anywhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        assert absolute("own.py:reward") == f"{tmp_path}/own.py:reward"
        assert absolute("package.module:reward") == "package.module:reward"


def test_the_cpu_is_chosen_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cpu = environment(recipes.read("pocket_smoke"), tmp_path / "log")
    assert cpu["VERL_PLATFORM"] == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in cpu
    assert "VERL_PLATFORM" not in environment(recipes.read("visionthink_7b"), tmp_path / "log")


class TestCommand:
    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, ["train", *arguments])

    def test_list(self) -> None:
        found = json.loads(self.run("--list", "--json").stdout)
        assert set(found) == set(names(recipes.RECIPES)) >= {"visionthink_7b", "crops_7b", "pocket_cpu", "pocket_smoke"}

    def test_dry_run_prints_what_verl_gets(self) -> None:
        shown = self.run("pocket_smoke", "--dry-run", "learning_rate=0.5")
        assert shown.exit_code == 0
        assert "lr: 0.5" in shown.stdout
        assert "GroupRewardSampler" in shown.stdout

    def test_it_says_what_is_missing(self) -> None:
        assert "name a recipe" in self.run().output
        assert "--out DIR" in self.run("pocket_smoke").output
