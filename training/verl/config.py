"""From a recipe to verl's own configuration: composed by hydra from verl's defaults, then checked by verl.

What a recipe leaves open is decided here, once for every machine, once for the CPU and once for GPUs. A recipe's
`verl:` section wins.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.report.samples import SAMPLES

from ..recipe import Recipe

LOOP = "agentic_vision"


def common(recipe: Recipe, run: Path, model: Path | str) -> dict[str, Any]:
    """Settings that every run needs."""
    rows = recipe.prompts * recipe.rollouts
    kwargs = {
        "reward": recipe.reward,
        "side": recipe.side,
        "decision_entropy": recipe.decision_entropy,
        "drop_alike": recipe.drop_alike,
        "by_length": recipe.device == "cpu",
        "memory": str(run / "rewards.jsonl"),
        "samples": str(run / SAMPLES),
    }
    return {
        "data": {
            "train_files": str(run / "data" / "train.parquet"),
            "val_files": str(run / "data" / "val.parquet"),
            "train_batch_size": recipe.prompts,
            "seed": recipe.seed,
            "max_prompt_length": recipe.prompt_length,
            "max_response_length": recipe.response_length,
            "return_raw_chat": True,
            "dataloader_num_workers": 0,
        },
        "critic": {"enable": False},
        "algorithm": {
            "adv_estimator": recipe.advantage,
            "gdpo_reward_weights": recipe.weights,
        },
        "actor_rollout_ref": {
            "model": {
                "path": str(model),
                "exclude_modules": "|".join(map(re.escape, recipe.frozen)) or None,
                "external_lib": "agentic_vision.training.verl.freezing" if recipe.frozen else None,
            },
            "actor": {
                "ppo_mini_batch_size": recipe.prompts,
                "optim": {"lr": recipe.learning_rate},
                "checkpoint": {"save_contents": ["model", "optimizer", "extra", "hf_model"]},
            },
            "rollout": {
                "n": recipe.rollouts,
                "temperature": recipe.temperature,
                "calculate_log_probs": True,
                "seed": recipe.seed,
                "agent": {
                    "default_agent_loop": LOOP,
                    "agent_loop_config_path": str(run / "agent_loop.yaml"),
                    "num_workers": 1 if rows < 256 else 8,
                },
                "multi_turn": {"enable": True},
            },
        },
        "trainer": {
            "project_name": "agentic_vision",
            "experiment_name": recipe.name,
            "logger": ["file"],
            "default_local_dir": str(run / "checkpoints"),
            "total_training_steps": recipe.steps,
            "total_epochs": 1_000_000,  # the steps decide
            "save_freq": recipe.save_every,
            "test_freq": recipe.test_every,
            "max_actor_ckpt_to_keep": 2,
            "resume_mode": "auto",
            "nnodes": 1,
            "v1": {
                "trainer_mode": "sync",
                "sampler": {
                    "custom_sampler": {
                        "path": "pkg://agentic_vision.training.verl.sampler",
                        "name": "GroupRewardSampler",
                    },
                    "sampler_kwargs": {name: value for name, value in kwargs.items() if value},
                },
            },
        },
    }


def cpu(recipe: Recipe) -> dict[str, Any]:
    """Settings that stock verl needs without a GPU."""
    rows = recipe.prompts * recipe.rollouts
    micro = next(size for size in (16, 8, 4, 2, 1) if rows % size == 0)
    sharding = {
        "strategy": "fsdp2",
        "model_dtype": "fp32",
        "mixed_precision": {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        "use_torch_compile": False,
    }
    return {
        "actor_rollout_ref": {
            "model": {
                "external_lib": "agentic_vision.training.verl.cpu.backend",
                "use_remove_padding": False,
                "enable_gradient_checkpointing": False,
                "override_config": {"attn_implementation": "sdpa"},
            },
            "actor": {
                "strategy": "fsdp2",
                "use_torch_compile": False,
                "ppo_micro_batch_size_per_gpu": micro,
                "fsdp_config": sharding,
            },
            "ref": {
                "strategy": "fsdp2",
                "use_torch_compile": False,
                "log_prob_micro_batch_size_per_gpu": micro,
                "fsdp_config": sharding,
            },
            "rollout": {
                "name": "cpu",
                "dtype": "float32",
                "tensor_model_parallel_size": 1,
                "free_cache_engine": False,
                "log_prob_micro_batch_size_per_gpu": micro,
                "max_num_seqs": 64,
                "load_format": "auto",
            },
        },
        "trainer": {"device": "cpu", "n_gpus_per_node": 1},
        "reward": {"num_workers": 0},
        "algorithm": {"rollout_correction": {"bypass_mode": True}},
        "transfer_queue": {"enable": True, "backend": {"SimpleStorage": {"num_data_storage_units": 1}}},
        "ray_kwargs": {"ray_init": {"num_cpus": 16, "num_gpus": 1, "include_dashboard": False}},
    }


def cuda(recipe: Recipe) -> dict[str, Any]:
    """Settings that pay on GPUs: batches by tokens instead of rows, and vLLM for the rollout."""
    longest = recipe.prompt_length + recipe.response_length
    learning, reading = max(24_576, longest), max(49_152, longest)  # tokens a GPU
    by_tokens = {"log_prob_use_dynamic_bsz": True, "log_prob_max_token_len_per_gpu": reading}
    return {
        "actor_rollout_ref": {
            "model": {"use_remove_padding": True, "enable_gradient_checkpointing": True},
            "actor": {"use_dynamic_bsz": True, "ppo_max_token_len_per_gpu": learning},
            "ref": by_tokens,
            "rollout": {
                "name": "vllm",
                "tensor_model_parallel_size": 1,
                "gpu_memory_utilization": 0.6,
                **by_tokens,
            },
        },
        "trainer": {"n_gpus_per_node": 1},
    }


def compose(recipe: Recipe, run: Path, model: Path | str) -> Any:
    """verl's whole configuration (an OmegaConf `DictConfig`) of `recipe`.

    Raises `ConfigError` where the recipe's `verl:` section has a key that verl does not know, or verl refuses a value.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for place in (run, model):
        if "${" in str(place):
            raise ConfigError(f"{place}: in verl's configuration ${{ begins a reference: give a path without it")
    ours = [common(recipe, run, model), cpu(recipe) if recipe.device == "cpu" else cuda(recipe)]
    overrides = [override for layer in ours for override in _overrides(layer)]
    overrides += _overrides(recipe.verl, null=True)
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = hydra_compose("ppo_trainer", overrides=overrides)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"verl does not take this recipe: {' '.join(str(error).split())[:400]}") from error
    return config


def check(config: Any) -> None:
    """verl's own validators, and whether there is such an advantage. Raises `ConfigError` with what they say."""
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from . import advantages  # noqa: F401  which registers ours

    name = config.algorithm.adv_estimator
    try:
        get_adv_estimator_fn(name)
    except ValueError as error:
        raise ConfigError(
            f"there is no advantage {name!r}: give fork, dtpo, hdpo, gdpo_channels, or one of verl's, such as grpo"
        ) from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # verl prints that all is well
            validate_config(
                config=config,
                use_reference_policy=need_reference_policy(config),
                use_critic=need_critic(config),
            )
    except (AssertionError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"verl refuses this configuration: {error}") from error


# Sections of verl's configuration that take keys of any name.
_OPEN = ("mixed_precision", "sampler_kwargs", "override_config", "ray_init", "gdpo_reward_weights", "SimpleStorage")


def _overrides(layer: Mapping[str, Any], path: tuple[str, ...] = (), *, null: bool = False) -> Iterator[str]:
    """Hydra's command-line form of nested settings. `null`: whether None is a setting, or leaves verl's own."""
    for key, value in layer.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value and key not in _OPEN:
            yield from _overrides(value, here, null=null)
        elif value is not None or null:
            added = "++" if any(name in _OPEN for name in here) else ""
            yield f"{added}{'.'.join(here)}={_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_literal, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return repr(value)
    return f'"{_BEFORE_QUOTE.sub(_escaped, str(value))}"'


_BEFORE_QUOTE = re.compile(r'(\\*)("|\Z)')


def _escaped(found: re.Match[str]) -> str:
    """Hydra reads a backslash as itself, but for those before a quote."""
    return found[1] * 2 + ('\\"' if found[2] else "")
