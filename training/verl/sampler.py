"""The group's reward in verl: a replay buffer that scores every group as soon as its trajectories are complete.

Named in `trainer.v1.sampler.custom_sampler`. Scoring runs beside the rollouts of the other groups, so that a judge's
latency is not waited for. A trajectory without a verdict is taken out of its group: it neither moves the baseline nor
has an advantage.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from agentic_vision.errors import ConfigError
from agentic_vision.messages import Trajectory

from ..imports import made
from ..rewards.call_ratio import called
from ..rewards.reward import Group, Reward, as_reward, parts_of
from ..run_folder import PREFIX
from .figures import figures
from .fork import forks
from .memory import Memory
from .samples import Samples
from .scored import Rows, ScoredGroup, group_of, trainable

POLL_SECONDS = 0.05


class GroupRewardSampler(ReplayBuffer):
    """verl's synchronous replay buffer, with rewards that look at whole groups.

    `sampler_kwargs`: `reward` and, for estimators of two channels, `side`: each `{"target": spec, **arguments}`;
    `decision_entropy`: the weight of `with_entropy` in the side channel.
    `drop_alike`: leave out groups whose totals, and whose side channel, are all alike. `by_length`: shortest first, so
    that a micro-batch that is padded is padded by little.
    """

    def __init__(self, *args: Any, sampler_kwargs: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, sampler_kwargs=sampler_kwargs, poll_interval=POLL_SECONDS, **kwargs)
        if self.trainer_mode != "sync":
            raise ConfigError(f"trainer.v1.trainer_mode={self.trainer_mode}: rewards of whole groups need 'sync'")
        self._reward: Reward = as_reward(made(sampler_kwargs["reward"]))
        side = sampler_kwargs.get("side")
        self._side: Reward | None = as_reward(made(side)) if side else None
        self._decision_entropy = float(sampler_kwargs.get("decision_entropy", 0.0))
        self._drop_alike = bool(sampler_kwargs.get("drop_alike", False))
        self._by_length = bool(sampler_kwargs.get("by_length", False))
        rewards = [reward for reward in (self._reward, self._side) if reward]
        self._parts = list(dict.fromkeys(part for reward in rewards for part in parts_of(reward)))
        self._memory = Memory(Path(sampler_kwargs["memory"]), self._parts) if "memory" in sampler_kwargs else None
        self._samples = Samples(Path(sampler_kwargs["samples"])) if "samples" in sampler_kwargs else None
        self._begun = False
        self._loop = _background_loop()

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of complete groups with their rewards, and the figures of the step."""
        begun = time.perf_counter()
        training = partition_id == "train"
        if training and not self._begun:
            self._begun = True
            for kept in (self._memory, self._samples):
                if kept:
                    kept.restore(global_steps)
        under_way: dict[str, Future[ScoredGroup]] = {}
        while True:
            self._sync_metadata_from_transfer_queue()
            ended = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            for uid in sorted(ended - under_way.keys()):
                keys = [key for key in self.partitions[partition_id] if group_of(key) == uid]
                if keys:
                    under_way[uid] = self._submit(self._scored(keys, partition_id))
            if len(ended) >= batch_size:
                break
            time.sleep(self.poll_interval)
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        rolled_out = time.perf_counter()
        chosen = {group_of(key) for key in batch.keys}
        scored = [future.result() for uid, future in under_way.items() if uid in chosen]
        rows = self._rows(scored, training=training)
        staying: Sequence[str] = batch.keys
        if training:
            staying = trainable(batch.keys, [tag["seq_len"] for tag in batch.tags], rows)
        if written := [key for key in staying if key in rows]:
            fields = list_of_dict_to_tensordict([rows[key] for key in written])
            tq.kv_batch_put(keys=written, partition_id=partition_id, fields=fields)
        groups = [one.group for one in scored]
        metrics |= figures(groups, [one.scores for one in scored])
        metrics[f"{PREFIX}failed_groups"] = len(chosen & self.failure_keys[partition_id]) / batch_size
        metrics[f"{PREFIX}seconds_rollout"] = rolled_out - begun
        metrics[f"{PREFIX}seconds_reward"] = time.perf_counter() - rolled_out
        if training:
            for part in self._parts:
                part.learn(groups)
            if self._memory:
                self._memory.note(global_steps)
            if self._samples:
                self._samples.note(global_steps, scored)
        batch = _only(batch, staying)
        if self._by_length:
            batch.reorder(sorted(range(len(batch.keys)), key=lambda n: batch.tags[n]["seq_len"]))
        return batch, metrics

    def _submit(self, work: Coroutine[Any, Any, ScoredGroup]) -> Future[ScoredGroup]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _scored(self, keys: list[str], partition_id: str) -> ScoredGroup:
        fields = ["extra_fields", "extra_info", "response_mask", "responses", "rollout_log_probs"]
        data = await asyncio.to_thread(tq.kv_batch_get, keys=keys, partition_id=partition_id, select_fields=fields)
        extra, info = (_listed(data[name]) for name in fields[:2])
        trajectories = [Trajectory.model_validate(one["trajectory"]) for one in extra]
        group = Group(trajectories, info[0]["references"], info[0])
        scores = await self._reward.score(group)
        side = (await self._side.score(group)).totals if self._side else None
        responses = [ids.tolist() for ids in data["responses"].unbind()]
        decided = forks(responses, [called(one) for one in trajectories])
        log_probs = [float(own[at]) for own, at in zip(data["rollout_log_probs"].unbind(), decided, strict=True)]
        lengths = [len(mask) for mask in data["response_mask"].unbind()]
        return ScoredGroup(keys, extra, lengths, group, scores, side, decided, log_probs)

    def _rows(self, scored: Sequence[ScoredGroup], *, training: bool) -> Rows:
        """What is written of the trajectories that count."""
        rows: Rows = {}
        for one in scored:
            rows |= (
                one.training(entropy=self._decision_entropy, drop_alike=self._drop_alike)
                if training
                else one.validation()
            )
        return rows


def _only(batch: KVBatchMeta, staying: Sequence[str]) -> KVBatchMeta:
    """`batch` without the trajectories that do not count; at least one stays, for verl cannot train on none."""
    # Its reward is the 0 that it came with: alone in its group it has no advantage.
    chosen = set(staying or batch.keys[:1])
    going = [key for key in batch.keys if key not in chosen]
    if not going:
        return batch
    tq.kv_clear(keys=going, partition_id=batch.partition_id)
    places = [n for n, key in enumerate(batch.keys) if key in chosen]
    return KVBatchMeta(
        partition_id=batch.partition_id, keys=[batch.keys[n] for n in places], tags=[batch.tags[n] for n in places]
    )


def _listed(column: Any) -> list[Any]:
    """A column that is no tensor, as plain values: TransferQueue gives it in several forms."""
    return [getattr(value, "data", value) for value in column]


def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agentic-vision-rewards", daemon=True).start()
    return loop
