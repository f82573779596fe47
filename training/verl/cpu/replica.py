"""The rollout: a Ray actor that holds the policy and generates, and the training worker's hand that gives it weights.

verl's trainer talks to `CpuReplica`, its agent loops to `CpuServer.generate`, its training worker to `ServerAdapter`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from typing import Any

import ray
import torch
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from agentic_vision.errors import PolicyError
from agentic_vision.policies.batcher import Batcher
from agentic_vision.policies.decoding import decoder_for
from agentic_vision.policies.encoding import encoder_for

from .generation import Generated, Sampling, TokenGenerator, TokenTask
from .platform import use_all_cores

Weights = dict[str, torch.Tensor]


def _name(replica_rank: int) -> str:
    return f"agentic_vision_rollout_{replica_rank}"


class CpuServer:
    """Holds the policy's weights and answers `generate`. All methods run in the actor's event loop."""

    def __init__(self, config: Any, model_config: Any) -> None:
        from transformers import AutoModelForImageTextToText

        use_all_cores()
        model_config = omega_conf_to_dataclass(model_config)
        if model_config.processor is None:
            raise PolicyError(
                f"verl found no processor in {model_config.path}: a Qwen-VL checkpoint has a preprocessor_config.json"
            )
        self._config = config
        self._model = AutoModelForImageTextToText.from_pretrained(model_config.local_path, dtype=torch.float32).eval()
        image_processor = model_config.processor.image_processor
        encoder = encoder_for(model_config.tokenizer, image_processor, self._model.config)
        decoder = decoder_for(self._model, model_config.tokenizer, encoder)
        self._generator = TokenGenerator(decoder, image_processor, self._model.config.image_token_id)
        self._batcher: Batcher[Generated] = Batcher(decoder, max_batch=config.max_num_seqs)
        self._steps: int | None = None

    async def generate(
        self,
        request_id: str,
        *,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        image_data: list[Any] | None = None,
        video_data: list[Any] | None = None,
    ) -> TokenOutput:
        """verl's token-in-token-out: the reply to `prompt_ids`, whose images are `image_data` in their order."""
        if video_data:
            raise PolicyError("the CPU rollout knows images, not videos")
        room = self._config.prompt_length + self._config.response_length - len(prompt_ids)
        if room < 1:
            raise PolicyError(f"{len(prompt_ids)} tokens leave no room for a reply: raise response_length")
        sampling = Sampling.of(sampling_params, room)
        task = TokenTask(self._generator, request_id, list(prompt_ids), list(image_data or ()), sampling)
        reply = await asyncio.wrap_future(self._batcher.submit(task))
        return TokenOutput(
            token_ids=reply.token_ids,
            log_probs=reply.log_probs,
            stop_reason="completed" if reply.stopped else "length",
            extra_fields={"global_steps": self._steps},
        )

    async def load(self, weights: Weights, global_steps: int | None) -> None:
        """Take the trainer's weights. verl calls it between rollouts."""
        missing, unknown = self._model.load_state_dict(weights, strict=False)
        lost = set(missing) - set(self._model.all_tied_weights_keys)
        if lost or unknown:
            raise PolicyError(f"the trainer's weights do not fit the rollout's: {sorted(lost)[:3]} {unknown[:3]}")
        self._generator.clear()
        self._steps = global_steps

    async def sleep(self) -> None:
        """There is no GPU memory to give back."""

    async def wake_up(self) -> None:
        """See `sleep`."""


class CpuReplica(RolloutReplica):
    """verl's handle on the server: one for each training worker."""

    async def launch_servers(self) -> None:
        server = (
            ray.remote(CpuServer)
            .options(name=_name(self.replica_rank), max_concurrency=self.max_concurrency, num_cpus=0)
            .remote(self.config, self.model_config)
        )
        await server.__ray_ready__.remote()
        self.servers, self._server_handle = [server], server
        self._server_address = _name(self.replica_rank)


class ServerAdapter(BaseRollout):
    """In the training worker: hands its weights to the server beside it."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1) -> None:
        super().__init__(config, model_config, device_mesh)
        self._rank = replica_rank if replica_rank >= 0 else int(os.environ["RANK"])

    async def update_weights(
        self,
        weights: Generator[tuple[str, torch.Tensor], None, None],
        wire_format: str = "named_tensors",
        **kwargs: Any,
    ) -> None:
        if wire_format != "named_tensors":
            raise PolicyError(
                f"the CPU rollout takes whole tensors, not {wire_format}: checkpoint_engine.backend=naive"
            )
        whole = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in weights}
        server = ray.get_actor(_name(self._rank))
        await server.load.remote(whole, kwargs.get("global_steps"))

    async def resume(self, tags: list[str]) -> None:
        """Nothing was released."""

    async def release(self) -> None:
        """There is no GPU memory to give back."""
