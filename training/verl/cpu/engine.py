"""verl's FSDP engine on the CPU. verl registers it for CUDA and NPU alone, but for one policy it runs here as it is."""

from __future__ import annotations

from typing import Any

from tensordict import TensorDict
from verl.utils.tensordict_utils import index_select_tensor_dict, maybe_fix_3d_position_ids
from verl.workers.engine.base import EngineRegistry

from ..freezing import FreezingEngine
from .platform import NAME, use_all_cores


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device=NAME)
class CpuEngine(FreezingEngine):
    """The engine of the actor and of the reference policy."""

    def initialize(self) -> None:
        use_all_cores()
        super().initialize()

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        """verl's, without rows that nothing is learnt from: what verl pads a batch with where groups were dropped."""
        if not forward_only:
            micro = data["micro_batch_size_per_gpu"]
            learnt = [n for n, mask in enumerate(data["loss_mask"].unbind()) if bool(mask.any())]
            idle = [n for n in range(len(data)) if n not in set(learnt)]
            rows = learnt + idle[: -len(learnt) % micro or (0 if learnt else micro)]
            if len(rows) < len(data):
                data = index_select_tensor_dict(data, sorted(rows))
                maybe_fix_3d_position_ids(data)
        return super().forward_backward_batch(data, loss_function, forward_only=forward_only)

    def _build_fsdp_module(self, module: Any) -> Any:
        # A reference policy would be offloaded from the GPU to pinned memory: here it is where it would go.
        forward_only = self.engine_config.forward_only
        object.__setattr__(self.engine_config, "forward_only", False)
        try:
            return super()._build_fsdp_module(module)
        finally:
            object.__setattr__(self.engine_config, "forward_only", forward_only)
