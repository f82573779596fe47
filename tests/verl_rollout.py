"""A rollout without Ray: the agent on the CPU server's own code, and what verl would train on afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker
from verl.utils.tokenizer import hf_processor, hf_tokenizer

from agentic_vision import VisionAgent
from agentic_vision.messages import Trajectory
from agentic_vision.policies.encoding import encoder_for
from agentic_vision.policies.weights import COORDINATES
from agentic_vision.policy import PromptStyle
from agentic_vision.qwen_tokens import QwenVL
from agentic_vision.training.verl.alignment import Disagreement, disagreement
from agentic_vision.training.verl.cpu.replica import CpuServer
from agentic_vision.training.verl.rollout import RolloutPolicy, TokenTrajectory

# Boxes that lie on the glance in pixels (Qwen2.5-VL) and in thousandths (Qwen3-VL) alike.
CROP = '<tool_call>{"name": "zoom_crop", "arguments": {"bbox_2d": [5, 5, 100, 80]}}</tool_call>'
TWO = (
    '<tool_call>{"name": "zoom_crop", "arguments": {"bbox_2d": [0, 0, 60, 60]}}</tool_call>'
    '<tool_call>{"name": "full_res", "arguments": {}}</tool_call>'
)


class Rollout:
    """`server` is the CPU rollout's; `says` are the texts of the first turns, instead of the model's own."""

    def __init__(self, folder: Path, *says: str, response_length: int = 4000, max_new_tokens: int = 12) -> None:
        self.tokenizer, self.processor = hf_tokenizer(str(folder)), hf_processor(str(folder))
        settings: Any = SimpleNamespace(prompt_length=2000, response_length=response_length, max_num_seqs=8)
        model: Any = SimpleNamespace(
            tokenizer=self.tokenizer, processor=self.processor, local_path=str(folder), path=str(folder)
        )
        self.server = CpuServer(settings, model)
        self.model = self.server._model
        self.encoder = encoder_for(self.tokenizer, self.processor.image_processor, self.processor.config)
        kind = self.processor.config.model_type
        self.family = QwenVL.from_processor(self.processor.image_processor, kind, COORDINATES[kind])
        self.asked: list[int] = []
        self._says = list(says)
        self.policy = RolloutPolicy(
            server=self,
            encoder=self.encoder,
            family=self.family,
            style=PromptStyle.TEXT,
            sampling={"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True},
            prompt_length=2000,
            response_length=response_length,
            max_new_tokens=max_new_tokens,
        )
        self.agent = VisionAgent(self.policy, max_turns=4)

    async def generate(self, request_id: str, **asked: Any) -> Any:
        """The server's own answer, or the next of `says` with the log-probabilities that it has."""
        self.asked.append(len(asked["prompt_ids"]))
        if not self._says:
            return await self.server.generate(request_id, **asked)
        ids = [*self.tokenizer.encode(self._says.pop(0), add_special_tokens=False), *self.encoder.turn_end_ids[:1]]
        found = self.log_probs([*asked["prompt_ids"], *ids], asked["image_data"])[-len(ids) :]
        return SimpleNamespace(token_ids=ids, log_probs=found.tolist(), extra_fields={"global_steps": 3})

    def ask(
        self, image: Image.Image, question: str = "What is it?", seed: int = 1
    ) -> tuple[Trajectory, TokenTrajectory]:
        trajectory = asyncio.run(self.agent.aask(image, question, seed=seed)).trajectory
        return trajectory, self.policy.take(trajectory.id)

    def check(self, trajectory: Trajectory, record: TokenTrajectory) -> Disagreement | None:
        return disagreement(record, self.encoder, self.family, self.processor, [turn.text for turn in trajectory.turns])

    def log_probs(self, ids: list[int], images: list[Image.Image]) -> torch.Tensor:
        """Of every token but the first, as the actor computes them: from what verl makes of ids and images."""
        worker: Any = SimpleNamespace(
            processor=self.processor, tokenizer=self.tokenizer, _get_mm_processor_kwargs=lambda *_: {}
        )
        output: Any = SimpleNamespace(multi_modal_data={"images": images}, mm_processor_kwargs=None)
        tensor = torch.tensor(ids)
        inputs = AgentLoopWorker._compute_multi_modal_inputs(worker, output, tensor)
        rows = tensor[None]
        positions = AgentLoopWorker._compute_position_ids(worker, rows, torch.ones_like(rows), inputs)
        inputs.pop("images_seqlens", None)
        with torch.inference_mode():
            logits = self.model(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                position_ids=positions[0, 1:, None],
                use_cache=False,
                **inputs,
            ).logits[0]
        return logits[:-1].float().log_softmax(-1).gather(1, tensor[1:, None])[:, 0]
