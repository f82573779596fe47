"""verl's FSDP engine for models of which a part does not learn: what `model.exclude_modules` names.

verl has that field for LoRA alone. Named in `actor_rollout_ref.model.external_lib`, this module registers the engine
for NVIDIA GPUs, before verl's own, which is for any; the engine of the CPU builds on it.
"""

from __future__ import annotations

import re
from typing import Any

from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cuda", vendor="nvidia")
class FreezingEngine(FSDPEngineWithLMHead):
    """Parameters whose name `model.exclude_modules` (a regular expression) finds do not learn."""

    def _build_module(self) -> Any:
        module = super()._build_module()
        frozen = self.model_config.exclude_modules
        if frozen and not self._is_lora:
            for name, parameter in module.named_parameters():
                if re.search(frozen, name):
                    parameter.requires_grad_(False)
        return module
