"""Advantages of two channels: what a trajectory earned by its outcome, and beside it what its tool use was worth.

verl hands an estimator token-level rewards, so both channels travel in them: the outcome on the last token of the
response, which is the template's, the side channel (`side` of a recipe) on a token of the model's: where the trajectory
decided (`fork.py`). Estimators take the weights of outcome and side from `algorithm.gdpo_reward_weights`, which verl
has for the same purpose. All of them leave masked tokens at 0.

Importing this module registers `dtpo`, `hdpo`, `gdpo_channels` and `fork` with verl (`algorithm.adv_estimator`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage, register_adv_est

EPSILON = 1e-6

Advantages = tuple[torch.Tensor, torch.Tensor]


OFFSET = 64.0
"""Added to the side channel, so that its place is seen where it is 0."""


def place(total: float, side: float | None, length: int, at: int = 0) -> torch.Tensor:
    """Token-level rewards (length,) of one response: the outcome on its last token, the side channel on token `at`.

    With a side channel the last token is the template's, which closes a turn, and `at` is one of the model's.
    """
    rewards = torch.zeros(length)
    rewards[-1] += total
    if side is not None:
        rewards[at] += side + OFFSET
    return rewards


def channels(rewards: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outcome and side channel (each: rows) of token-level rewards (rows x tokens), and the latter's place (0 or 1)."""
    behind = rewards * (mask.flip(1).cumsum(1).flip(1) == 0)  # what comes after the model's last token
    at = (rewards * mask != 0).to(rewards.dtype)
    return behind.sum(dim=1), (rewards * mask).sum(dim=1) - OFFSET * at.sum(dim=1), at


@register_adv_est("dtpo")
def dtpo(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> Advantages:
    """Decoupled turns (AdaptVision, arXiv 2512.03794, DTPO): the side channel is the tool's reward.

    A token of a turn that called a tool gets the outcome's advantage and, weighted (0.3 there), the tool reward's; a
    token of the last turn the outcome's alone. Both are normalised in the group, the tool reward among those of its
    trajectories that called.
    """
    outcome, side = channels(token_level_rewards, response_mask)[:2]
    weights = _weights(config, side=0.3)
    calling = tool_tokens(response_mask)
    by_outcome = weights[0] * normalised(outcome, index)
    by_side = weights[1] * normalised(side, index, among=calling.any(dim=1))
    advantages = by_outcome[:, None] * response_mask + by_side[:, None] * calling
    return advantages, advantages


@register_adv_est("hdpo")
def hdpo(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> Advantages:
    """Hierarchical decoupling (Metis, arXiv 2604.08545, HDPO): the side channel is efficiency, 0 for a wrong answer.

    The outcome is normalised among all trajectories of the group, efficiency among the correct ones alone (those above
    0): being quick is worth something to who is right. Weights there: 1 and 0.15.
    """
    outcome, side = channels(token_level_rewards, response_mask)[:2]
    weights = _weights(config, side=0.15)
    total = weights[0] * normalised(outcome, index) + weights[1] * normalised(side, index, among=side > 0)
    advantages = total[:, None] * response_mask
    return advantages, advantages


@register_adv_est("gdpo_channels")
def gdpo_channels(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> Advantages:
    """verl's own GDPO (arXiv 2601.05242) on the two channels: each normalised in its group; their sum, in the batch.

    verl's `gdpo` asks for columns that its trainer does not hand over; the computation is the same.
    """
    outcome, side = channels(token_level_rewards, response_mask)[:2]
    rows = len(outcome)
    return compute_gdpo_outcome_advantage(  # type: ignore[no-any-return]
        token_level_rewards=token_level_rewards,
        response_mask=response_mask,
        index=index,
        config={"gdpo_reward_keys": ["outcome", "side"], "gdpo_reward_weights": _weights(config, side=1.0)},
        non_tensor_batch={"outcome": outcome.numpy(), "side": side.numpy()},
        batch={"prompts": torch.zeros(rows, 0), "attention_mask": torch.ones_like(response_mask)},
    )


@register_adv_est("fork")
def fork(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> Advantages:
    """Credit where it was decided: the side channel is what the trajectory's way of acting was worth.

    A call takes ten times the tokens of a direct answer, and whether to make it is settled by one of them. Spread over
    all tokens, its credit drowns in that of the others; averaged over each trajectory's, the short one is paid more.
    Here the token at which a trajectory parted from those of its group that acted otherwise gets the side channel's
    advantage, weighted (10 where nothing else is said), and all tokens get the outcome's.
    """
    outcome, side, at = channels(token_level_rewards, response_mask)
    weights = _weights(config, side=10.0)
    by_outcome = weights[0] * normalised(outcome, index)
    by_side = weights[1] * normalised(side, index)
    advantages = by_outcome[:, None] * response_mask + by_side[:, None] * at
    return advantages, advantages


def normalised(values: torch.Tensor, index: np.ndarray, among: torch.Tensor | None = None) -> torch.Tensor:
    """(value - mean) / (std + epsilon) of the group, as verl's GRPO does; 0 for who is not `among` them.

    A group of one has no other to be compared with, and one of equals no difference but that of rounding: 0.
    """
    out = torch.zeros_like(values)
    counted = torch.ones(len(values), dtype=torch.bool) if among is None else among
    for group in set(index):
        members = torch.from_numpy(index == group) & counted
        chosen = values[members]
        if len(chosen) > 1 and bool(chosen.max() > chosen.min()):
            out[members] = (chosen - chosen.mean()) / (chosen.std() + EPSILON)
    return out


def tool_tokens(response_mask: torch.Tensor) -> torch.Tensor:
    """1 on the model's tokens (rows x tokens) before its last turn: those of the turns that called a tool."""
    mask = response_mask.bool()
    starts = mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]
    turn = starts.cumsum(dim=1)
    return (mask & (turn < turn[:, -1:])).to(response_mask.dtype)


def _weights(config: Any, *, side: float) -> Sequence[float]:
    given = config.get("gdpo_reward_weights", None) if config is not None else None
    return [float(weight) for weight in given] if given else [1.0, side]
