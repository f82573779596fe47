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
from agentic_vision.imports import load
from agentic_vision.training import recipe as recipes
from agentic_vision.training.imports import absolute, made
from agentic_vision.training.launch import compose_run, environment
from agentic_vision.training.plans import names
from agentic_vision.training.rewards import ExactMatch, FunctionReward
from agentic_vision.training.rewards.reward import as_reward
from agentic_vision.training.verl.config import compose

OWN = """
from functools import cache

from agentic_vision.training import ExactMatch, FunctionReward

def shout(trajectory, reference):
    return float((trajectory.answer or "").isupper())

def reward(weight=0.5):
    return ExactMatch() + weight * FunctionReward(shout)

@cache
def kept():
    return ExactMatch()

constant = ExactMatch()
"""


@pytest.mark.parametrize("name", names(recipes.RECIPES))
def test_verl_takes_every_recipe_that_ships(name: str, tmp_path: Path) -> None:
    plan = recipes.read(name)
    config = compose_run(plan, tmp_path)
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

    config = compose_run(recipes.read("pocket_cpu", [f"device={device}"]), tmp_path)
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
    config = compose_run(plan, tmp_path)
    assert config.actor_rollout_ref.actor.optim.lr == 1e-6
    assert config.trainer.v1.sampler.sampler_kwargs.reward.threshold == 0
    assert config.actor_rollout_ref.actor.clip_ratio == 0.3
    assert plan.agent.tools == ("full_res",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["stepz=3"], r"cannot have stepz: .*\(did you mean steps\?\)"),
        (["agent.turns=3"], r"\(did you mean agent\.max_turns\?\)"),
        (["wholly_else=3"], "not permitted$"),
        (["steps=0"], "cannot have steps"),
        (["save_every=0"], "cannot have save_every"),
        (["save_every=-1"], "cannot have save_every"),
        (["frozen=[model|visual]"], r"cannot have frozen\.0"),
        (["frozen=[visual"], r"'frozen=\[visual' has no YAML behind its = .*: put the value into quotes"),
        (["agent.glance=2"], r"cannot have agent\.glance"),
        (["steps"], "write key=value"),
        (["steps.more=1"], "steps is a value"),
        (["pocket=null"], "needs data"),
    ],
)
def test_what_a_recipe_cannot_say(changes: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        recipes.read("pocket_smoke", changes)


def no_reward(**_: Any) -> None:
    raise KeyError("w")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("reward.wx=0.3", "does not take .*wx"),
        ("reward.target=nope.py:x", r"cannot import .*nope\.py"),
        ("side={target: nope}", "names nothing"),
        (f"reward.target={__file__}:no_reward", r"no_reward fails where it is called: KeyError: 'w'"),
        ("advantage=forkk", "there is no advantage 'forkk': give fork"),
        ("agent.tools=[nope]", "there is no tool 'nope'"),
        ("agent.family=qwen9", "no model family is called 'qwen9'"),
    ],
)
def test_what_is_named_and_is_not_there_is_told_before_anything_starts(
    tmp_path: Path, change: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        compose_run(recipes.read("pocket_smoke", [change]), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a.b-c",
        'the "second" look',
        "it's",
        r"model\.visual",
        r"C:\models",
        "ends in \\",
        '\\"\\',
        "a,b=[c]{d: e}",
        "null",
    ],
)
def test_texts_reach_verl_as_they_are(tmp_path: Path, text: str) -> None:
    recipe = recipes.read("pocket_smoke")
    told = recipe.model_copy(update={"name": text, "reward": {**recipe.reward, "judge": text}})
    config = compose(told, tmp_path / text, text)
    assert config.trainer.experiment_name == text
    assert config.trainer.v1.sampler.sampler_kwargs.reward.judge == text
    assert config.actor_rollout_ref.model.path == text
    assert config.trainer.default_local_dir == str(tmp_path / text / "checkpoints")


def test_a_path_that_verl_would_read_as_a_reference(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give a path without it"):
        compose_run(recipes.read("pocket_smoke"), tmp_path / "x ${x}")
    with pytest.raises(ConfigError, match=r"verl does not take this recipe: .*'x' not found"):
        compose_run(recipes.read("pocket_smoke", ["verl.trainer.experiment_name='${x}'"]), tmp_path)


def test_names_with_dots_are_frozen_and_those_that_there_are_not_are_told(tmp_path: Path) -> None:
    from agentic_vision.training.verl.freezing import freeze
    from agentic_vision.training.warm_start.architecture import build_model

    def frozen(*names: str) -> set[str]:
        config = compose_run(recipes.read("pocket_cpu", [f"frozen=[{','.join(names)}]"]), tmp_path)
        model = build_model(0)
        freeze(model, config.actor_rollout_ref.model.exclude_modules)
        return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    found = frozen("model.visual", "embed_tokens")
    assert any("embed_tokens" in name for name in found)
    assert {name for name in found if "embed_tokens" not in name} == {
        name for name, _ in build_model(0).named_parameters() if name.startswith("model.visual.")
    }
    with pytest.raises(ConfigError, match="no parameter has embed_tokenz in its name"):
        frozen("model.visual", "embed_tokenz")


def test_a_null_of_the_recipes_wins_over_what_is_derived(tmp_path: Path) -> None:
    assert compose_run(recipes.read("pocket_smoke"), tmp_path).actor_rollout_ref.rollout.seed == 1
    plan = recipes.read("pocket_smoke", ["verl.actor_rollout_ref.rollout.seed=null"])
    assert compose_run(plan, tmp_path).actor_rollout_ref.rollout.seed is None


def test_verl_settings_that_it_does_not_know_or_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.nonsense"):
        compose_run(recipes.read("pocket_smoke", ["verl.trainer.nonsense=1"]), tmp_path)
    uneven = recipes.read("pocket_smoke", ["verl.actor_rollout_ref.actor.ppo_mini_batch_size=64"])
    with pytest.raises(ConfigError, match="verl refuses"):
        compose_run(uneven, tmp_path)


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
        assert isinstance(made({"target": f"{file}:kept"}), ExactMatch)
        assert isinstance(as_reward(made({"target": f"{file}:shout"})), FunctionReward)
        assert load(f"{file}:shout") is load(f"{file}:shout")  # a file is run once

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({}, "needs a target"),
            ({"target": "no_colon"}, "names nothing"),
            ({"target": "no.such.module:reward"}, "cannot import"),
            ({"target": ".relative:reward"}, "cannot import .relative"),
            ({"target": "{broken}:reward"}, "cannot import .*broken.py.*: NameError: .*nothing"),
            ({"target": "json:no_such"}, "has no no_such"),
            ({"target": "agentic_vision.training:CallRatioPenalty"}, "does not take {}: missing"),
            ({"target": "agentic_vision.training.recipes.rewards:vision_think", "treshold": 1}, "does not take"),
        ],
    )
    def test_what_cannot_be_made(self, settings: dict[str, Any], complaint: str, tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text("nothing")
        if "target" in settings:
            settings = {**settings, "target": settings["target"].replace("{broken}", str(tmp_path / "broken.py"))}
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
        as_json = json.loads(self.run("pocket_smoke", "--dry-run", "--json", "learning_rate=0.5").stdout)
        assert as_json["actor_rollout_ref"]["actor"]["optim"]["lr"] == 0.5

    def test_it_says_what_is_missing(self) -> None:
        assert "name a recipe" in self.run().output
        assert "--out DIR" in self.run("pocket_smoke").output
