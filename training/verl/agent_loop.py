"""verl's agent loop: the LangGraph graph of inference, asked with verl's rollout server as its policy.

Named in the YAML file of `actor_rollout_ref.rollout.agent.agent_loop_config_path`, with its `LoopSettings`. What the
agent did goes with the tokens, as `extra_fields["trajectory"]`: the very record that a reward scores.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from verl.experimental.agent_loop import AgentLoopBase, AgentLoopOutput

from agentic_vision import VisionAgent
from agentic_vision.errors import ConfigError
from agentic_vision.policies.encoding import encoder_for
from agentic_vision.qwen_tokens import QwenVL
from agentic_vision.visual_tokens import Family, family

from ..recipe import AgentSettings
from .alignment import disagreement
from .rollout import RolloutPolicy

CHECKED = 8  # trajectories of every process, the first ones, whose tokens, images and mask are checked

_taken = itertools.count()
_agents: dict[Any, tuple[VisionAgent, RolloutPolicy]] = {}  # of this process, by their settings and how they sample


class LoopSettings(AgentSettings):
    """What a recipe says of its agent, with the seed of its trajectories."""

    seed: int = 0

    def families(self, name_or_path: str, image_processor: Any, model_type: str) -> Family:
        """The visual-token arithmetic of the checkpoint."""
        if self.family is not None:
            return family(self.family)
        from agentic_vision.policies.weights import COORDINATES

        if model_type not in COORDINATES:
            raise ConfigError(f"{name_or_path} is a {model_type} model: give a Qwen2-VL, 2.5-VL or 3-VL checkpoint")
        return QwenVL.from_processor(image_processor, model_type, COORDINATES[model_type])


class VisionAgentLoop(AgentLoopBase):
    """One trajectory. verl makes one of these for each; what they share is made once a process."""

    def __init__(self, *args: Any, settings: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ConfigError("verl found no processor for this model: give a Qwen2-VL, 2.5-VL or 3-VL checkpoint")
        self.settings = LoopSettings.model_validate(dict(settings))

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Ask the question of `row` (a row of the data set, with verl's own columns).

        Raises `RuntimeError` where there is nothing to train on: verl then drops the trajectory from its group.
        """
        facts = row["extra_info"]
        agent, policy = self._agent(tuple(sorted(sampling_params.items())))
        seed = _seed(self.settings.seed, row.get("global_steps"), facts.get("index"), row.get("session_id"))
        result = await agent.aask(list(facts["images"]), facts["question"], seed=seed)
        trajectory = result.trajectory
        record = policy.take(trajectory.id)
        if trajectory.stop_reason.failed or not record.mask:
            raise RuntimeError(f"{facts.get('id')}: {trajectory.detail or trajectory.stop_reason}")
        if next(_taken) < CHECKED:
            turns = [turn.text for turn in trajectory.turns]
            found = disagreement(record, policy.encoder, policy.family, self.processor, turns)
            if found is not None:
                raise RuntimeError(f"{facts.get('id')}: what was sampled is not what would be trained on: {found}")
        steps = [step for step in record.steps if step is not None]
        return AgentLoopOutput(
            prompt_ids=record.ids[: record.prompt],
            response_ids=record.response,
            response_mask=record.mask,
            response_logprobs=record.log_probs,
            multi_modal_data={"images": record.images},
            reward_score=0.0,  # the sampler scores the whole group, once it is complete
            num_turns=len(trajectory.turns) + len(trajectory.observations),
            metrics={"generate_sequences": record.seconds, "tool_calls": trajectory.seconds - record.seconds},
            extra_fields={
                "trajectory": trajectory.model_dump(mode="json"),
                "min_global_steps": min(steps, default=row.get("global_steps")),
                "max_global_steps": max(steps, default=row.get("global_steps")),
                "reward_extra_info": {},
            },
        )

    def _agent(self, sampling: tuple[tuple[str, Any], ...]) -> tuple[VisionAgent, RolloutPolicy]:
        key = (self.settings, sampling)
        if key not in _agents:
            _agents[key] = _made(self, dict(sampling))
        return _agents[key]


def _made(loop: VisionAgentLoop, sampling: dict[str, Any]) -> tuple[VisionAgent, RolloutPolicy]:
    settings = loop.settings
    processor = loop.processor
    model_type = processor.config.model_type
    policy = RolloutPolicy(
        server=loop.server_manager,
        encoder=encoder_for(loop.tokenizer, processor.image_processor, processor.config),
        family=settings.families(loop.tokenizer.name_or_path, processor.image_processor, model_type),
        style=settings.style,
        sampling=sampling,
        prompt_length=loop.rollout_config.prompt_length,
        response_length=loop.rollout_config.response_length,
        max_new_tokens=settings.max_new_tokens,
    )
    return settings.agent(policy), policy


def _seed(*parts: Any) -> int:
    """One number for a trajectory: the same in a run that was resumed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
