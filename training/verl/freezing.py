"""verl's FSDP engine for models of which a part does not learn: what `model.exclude_modules` names.

verl has that field for LoRA alone. Named in `actor_rollout_ref.model.external_lib`, this module registers the engine
for NVIDIA GPUs, before verl's own, which is for any; the engine of the CPU builds on it.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from agentic_vision.errors import ConfigError


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cuda", vendor="nvidia")
class FreezingEngine(FSDPEngineWithLMHead):
    """Parameters whose name `model.exclude_modules` (a regular expression) finds do not learn."""

    def _build_module(self) -> Any:
        module = super()._build_module()
        frozen = self.model_config.exclude_modules
        if frozen and not self._is_lora:
            freeze(module, frozen)
        return module


def freeze(module: nn.Module, frozen: str) -> None:
    """Parameters of `module` whose name `frozen` (a regular expression) finds do not learn.

    Raises `ConfigError` where it finds none, or one of several names that it joins by | finds none.
    """
    parameters = dict(module.named_parameters())
    for part in [frozen] if "(" in frozen else frozen.split("|"):
        found = [parameter for name, parameter in parameters.items() if re.search(part, name)]
        if not found:
            raise ConfigError(f"frozen: no parameter has {part} in its name, but {next(iter(parameters))} and others")
        for parameter in found:
            parameter.requires_grad_(False)
