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
from ..rewards.format import well_formed
from ..rewards.reward import Group, Reward, Scores, as_reward, parts_of
from . import advantages as advantages
from .figures import figures
from .fork import forks, with_entropy
from .memory import Memory

POLL_SECONDS = 0.05


class GroupRewardSampler(ReplayBuffer):
    """verl's synchronous replay buffer, with rewards that look at whole groups.

    `sampler_kwargs`: `reward` and, for estimators of two channels, `side`: each `{"target": spec, **arguments}`;
    `decision_entropy`: the weight of `with_entropy` in the side channel.
    `drop_alike`: leave out groups whose totals are all alike, for they teach nothing. `by_length`: shortest first, so
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
        parts = [part for reward in (self._reward, self._side) if reward for part in parts_of(reward)]
        self._memory = Memory(Path(sampler_kwargs["memory"]), parts) if "memory" in sampler_kwargs else None
        self._begun = False
        self._loop = _background_loop()

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of complete groups with their rewards, and the figures of the step."""
        begun = time.perf_counter()
        training = partition_id == "train"
        if self._memory and training and not self._begun:
            self._memory.restore(global_steps)
            self._begun = True
        under_way: dict[str, Future[_Scored]] = {}
        while True:
            self._sync_metadata_from_transfer_queue()
            ended = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            for uid in sorted(ended - under_way.keys()):
                keys = [key for key in self.partitions[partition_id] if key.split("_")[0] == uid]
                if keys:
                    under_way[uid] = self._submit(self._scored(keys, partition_id))
            if len(ended) >= batch_size:
                break
            time.sleep(self.poll_interval)
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        rolled_out = time.perf_counter()
        chosen = {key.split("_")[0] for key in batch.keys}
        scored = [future.result() for uid, future in under_way.items() if uid in chosen]
        kept = self._write(scored, partition_id, validating=partition_id == "val")
        metrics |= figures([one.group for one in scored], [one.scores for one in scored])
        metrics["agentic/failed_groups"] = len(chosen & self.failure_keys[partition_id]) / batch_size
        metrics["agentic/seconds_rollout"] = rolled_out - begun
        metrics["agentic/seconds_reward"] = time.perf_counter() - rolled_out
        if self._memory and training:
            self._memory.note(global_steps)
        batch = _only(batch, kept, partition_id)
        if self._by_length:
            batch.reorder(sorted(range(len(batch.keys)), key=lambda n: batch.tags[n]["seq_len"]))
        return batch, metrics

    def _submit(self, work: Coroutine[Any, Any, _Scored]) -> Future[_Scored]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _scored(self, keys: list[str], partition_id: str) -> _Scored:
        fields = ["extra_fields", "extra_info", "reward_model", "response_mask", "responses", "rollout_log_probs"]
        data = await asyncio.to_thread(tq.kv_batch_get, keys=keys, partition_id=partition_id, select_fields=fields)
        extra, info, truth = (_listed(data[name]) for name in fields[:3])
        lengths = [len(mask) for mask in data["response_mask"].unbind()]
        trajectories = [Trajectory.model_validate(one["trajectory"]) for one in extra]
        # Data that verl's own scripts wrote know one right answer.
        group = Group(trajectories, info[0].get("references", truth[0]["ground_truth"]), info[0])
        scores = await self._reward.score(group)
        worth = (await self._side.score(group)).totals if self._side else (None,) * len(keys)
        responses = [ids.tolist() for ids in data["responses"].unbind()]
        decided = forks(responses, [called(one) for one in trajectories])
        log_probs = [float(own[at]) for own, at in zip(data["rollout_log_probs"].unbind(), decided, strict=True)]
        formed = [well_formed(one) for one in trajectories]
        side = with_entropy(worth, log_probs, formed, self._decision_entropy)
        return _Scored(keys, extra, lengths, group, scores, side, decided)

    def _write(self, scored: Sequence[_Scored], partition_id: str, *, validating: bool) -> set[str]:
        """Puts the rewards where verl looks for them; the keys of the trajectories that count."""
        kept: set[str] = set()
        rows: dict[str, dict[str, Any]] = {}
        for one in scored:
            earned = [pair for pair in zip(one.scores.totals, one.side, strict=True) if pair[0] is not None]
            # verl takes the score of one that is alone in its group for its advantage.
            idle = len(earned) < 2 or (self._drop_alike and len(set(earned)) < 2)
            for n, key in enumerate(one.keys):
                total, side = one.scores.totals[n], one.side[n]
                if validating:
                    info = {"reward": total or 0.0, **one.facts(n)}
                    rows[key] = {"rm_scores": advantages.place(total or 0.0, None, one.lengths[n])}
                    rows[key]["extra_fields"] = {**one.extra[n], "reward_extra_info": info}
                    kept.add(key)
                elif total is not None and not idle and (self._side is None or side is not None):
                    rows[key] = {"rm_scores": advantages.place(total, side, one.lengths[n], one.decided[n])}
                    kept.add(key)
        if rows:
            fields = list_of_dict_to_tensordict(list(rows.values()))
            tq.kv_batch_put(keys=list(rows), partition_id=partition_id, fields=fields)
        return kept


class _Scored:
    """One group with its scores, and what must be known to write them back."""

    def __init__(
        self,
        keys: list[str],
        extra: list[dict[str, Any]],
        lengths: list[int],
        group: Group,
        scores: Scores,
        side: Sequence[float | None],
        decided: Sequence[int],
    ) -> None:
        self.keys, self.extra, self.lengths = keys, extra, lengths
        self.group, self.scores, self.side, self.decided = group, scores, side, decided

    def facts(self, n: int) -> dict[str, float]:
        """What validation averages of one trajectory."""
        found = figures(
            [Group([self.group.trajectories[n]], self.group.reference, self.group.row)], [_nth(self.scores, n)]
        )
        return {name.removeprefix("agentic/"): value for name, value in found.items()}


def _nth(scores: Scores, n: int) -> Scores:
    return Scores((scores.totals[n],), {name: (values[n],) for name, values in scores.parts.items()})


def _only(batch: KVBatchMeta, kept: set[str], partition_id: str) -> KVBatchMeta:
    """`batch` without the trajectories that do not count; at least one stays, for verl cannot train on none.

    verl 0.9.1 breaks on a batch whose rows are all of one length (its issue 7899): one of them then goes as well, and
    verl fills its place with a row of padding.
    """
    staying = [n for n, key in enumerate(batch.keys) if key in kept]
    staying = staying or [0]  # its reward is the 0 that it came with: alone in its group it has no advantage
    if partition_id != "val" and len(staying) > 1 and len({batch.tags[n]["seq_len"] for n in staying}) == 1:
        staying.pop()
    going = [key for n, key in enumerate(batch.keys) if n not in set(staying)]
    if not going:
        return batch
    tq.kv_clear(keys=going, partition_id=partition_id)
    return KVBatchMeta(
        partition_id=partition_id, keys=[batch.keys[n] for n in staying], tags=[batch.tags[n] for n in staying]
    )


def _listed(column: Any) -> list[Any]:
    """A column that is no tensor, as plain values: TransferQueue gives it in several forms."""
    return [getattr(value, "data", value) for value in column]


def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agentic-vision-rewards", daemon=True).start()
    return loop
