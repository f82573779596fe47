"""Advantages of two channels, against groups that were computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("verl")

from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, get_adv_estimator_fn

from agentic_vision.training.verl import advantages
from agentic_vision.training.verl.advantages import (
    channels,
    dtpo,
    fork,
    gdpo_channels,
    hdpo,
    normalised,
    place,
    tool_tokens,
)
from agentic_vision.training.verl.fork import forks, with_entropy

# Two groups. In the first: a direct answer, two that called (an observation of two tokens between their turns), and a
# direct one. Outcomes 1, 1, 0, 0; side channel as each test says. In the second: one alone.
MASK = torch.tensor(
    [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 1, 1, 0],
        [1, 0, 0, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
    ]
)
LENGTHS = (3, 7, 7, 4, 3)
INDEX = np.array(["a", "a", "a", "a", "b"], dtype=object)
OUTCOMES = (1.0, 1.0, 0.0, 0.0, 1.0)
TOOL = torch.tensor(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
)
# Mean 1/2; the sample's standard deviation of (1, 1, 0, 0) is sqrt(1/3).
UP = 0.5 / math.sqrt(1 / 3)
BY_OUTCOME = torch.tensor([UP, UP, -UP, -UP, 0.0])[:, None] * MASK


def rewards(*side: float | None) -> torch.Tensor:
    rows = torch.zeros(MASK.shape)
    for n, (outcome, value, length) in enumerate(zip(OUTCOMES, side, LENGTHS, strict=True)):
        rows[n, :length] = place(outcome, value, length)
    return rows


def close(found: tuple[torch.Tensor, torch.Tensor], wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found[0], wanted.float(), atol=1e-5, rtol=0)
    assert found[0] is found[1]


def test_both_channels_travel_in_one_tensor() -> None:
    sides = (0.25, -1.0, 2.0, 0.0, 0.5)
    outcome, side, at = channels(rewards(*sides), MASK)
    assert outcome.tolist() == list(OUTCOMES)
    assert side.tolist() == list(sides)
    assert at.argmax(dim=1).tolist() == [0] * 5
    assert place(1.0, None, 1).tolist() == [1.0]  # with one channel a single token will do


def test_without_a_side_channel_it_is_what_verl_sums_up() -> None:
    stock, _ = compute_grpo_outcome_advantage(rewards(*[None] * 5), MASK, INDEX)
    torch.testing.assert_close(stock[:4], BY_OUTCOME[:4].float(), atol=1e-5, rtol=0)


def test_tool_tokens_are_those_before_the_last_turn() -> None:
    assert tool_tokens(MASK).tolist() == TOOL.tolist()


class TestDtpo:
    def test_the_tool_reward_falls_on_the_tool_turn_alone(self) -> None:
        # Among the two that called: 1 and 0, mean 1/2, deviation sqrt(1/2).
        tool = 0.3 * 0.5 / math.sqrt(1 / 2)
        by_tool = torch.tensor([0.0, tool, -tool, 0.0, 0.0])[:, None] * TOOL
        close(dtpo(rewards(0, 1, 0, 0, 0), MASK, INDEX), BY_OUTCOME + by_tool)

    def test_one_that_called_has_no_other_to_be_compared_with(self) -> None:
        mask = MASK.clone()
        mask[2, 0] = 0  # the third now has a single turn
        wanted = torch.tensor([UP, UP, -UP, -UP, 0.0])[:, None] * mask
        close(dtpo(rewards(0, 1, 0, 0, 0), mask, INDEX), wanted)

    def test_weights_are_the_configurations(self) -> None:
        found, _ = dtpo(rewards(0, 1, 0, 0, 0), MASK, INDEX, {"gdpo_reward_weights": [2.0, 0.0]})
        torch.testing.assert_close(found, 2 * BY_OUTCOME.float(), atol=1e-5, rtol=0)


class TestFork:
    def test_the_worth_of_an_action_falls_on_the_token_that_decided(self) -> None:
        rows = torch.zeros(MASK.shape)
        places = (1, 0, 0, 1, 1)
        for n, (worth, at, length) in enumerate(zip((0.0, 1.0, 1.0, 0.0, 5.0), places, LENGTHS, strict=True)):
            rows[n, :length] = place(OUTCOMES[n], worth, length, at)
        wanted = BY_OUTCOME.clone()
        for n, (sign, at) in enumerate(zip((-1, 1, 1, -1), places, strict=False)):
            wanted[n, at] += sign * 10 * UP
        torch.testing.assert_close(fork(rows, MASK, INDEX)[0], wanted, atol=1e-3, rtol=0)

    def test_it_is_found_in_the_tokens(self) -> None:
        think, close = [7, 8], [9]
        direct, other = [*think, 1, *close], [*think, 1, 2, *close]
        call = [*think, 3, 4, 5]
        assert forks([direct, other, call], [False, False, True]) == [2, 2, 2]
        assert forks([direct, other], [False, False]) == [0, 0]
        # One that began like a call, and then answered: it decided later.
        assert forks([direct, call, [*think, 3, 1]], [False, True, False]) == [2, 3, 3]
        assert forks([[7], [7, 8]], [False, True]) == [0, 1]

    def test_a_decision_is_paid_for_surprise_but_not_for_nonsense(self) -> None:
        worth, log_probs = (1.0, 0.5, 0.0, None), (-0.1, -2.0, -6.0, -1.0)
        found = with_entropy(worth, log_probs, (True, True, False, True), 0.3)
        assert found == [pytest.approx(1.03), pytest.approx(1.1), 0.0, None]

    def test_the_odds_settle_where_surprise_makes_up_for_worth(self) -> None:
        better = 0.6
        odds = math.exp(better / 0.3)
        log_probs = [math.log(odds / (1 + odds)), math.log(1 / (1 + odds))]
        call, direct = with_entropy([better, 0.0], log_probs, [True, True], 0.3)
        assert call == pytest.approx(direct)


class TestHdpo:
    def test_efficiency_counts_among_the_correct_alone(self) -> None:
        # Correct: the first two, with 1 and 1/2 (Metis: 1 / (calls + 1)); mean 3/4, deviation sqrt(1/8).
        thrift = 0.15 * 0.25 / math.sqrt(1 / 8)
        by_thrift = torch.tensor([thrift, -thrift, 0.0, 0.0, 0.0])[:, None] * MASK
        close(hdpo(rewards(1, 0.5, 0, 0, 1), MASK, INDEX), BY_OUTCOME + by_thrift)

    def test_a_wrong_answer_is_never_paid_for_being_quick(self) -> None:
        quick, _ = hdpo(rewards(1, 0.5, 0, 0, 1), MASK, INDEX)
        torch.testing.assert_close(quick[2:4], BY_OUTCOME[2:4].float(), atol=1e-5, rtol=0)


def test_gdpo_normalises_each_channel_and_whitens_the_sum() -> None:
    found, _ = gdpo_channels(rewards(1, 0, 0, 1, 0), MASK, INDEX, {"gdpo_reward_weights": [1.0, 1.0]})
    total = torch.tensor([2 * UP, 0.0, -2 * UP, 0.0, 0.0])[:, None] * MASK  # the one alone: 1 and 0, see below
    total[4] = MASK[4] * 1.0  # verl's GRPO takes the score of one that is alone for its advantage
    own = total[MASK.bool()]
    wanted = (total - own.mean()) / (own.var() + 1e-8).sqrt() * MASK
    torch.testing.assert_close(found, wanted.float(), atol=1e-4, rtol=0)


def test_a_group_that_is_alike_teaches_nothing() -> None:
    assert normalised(torch.ones(3), np.array(["a"] * 3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["dtpo", "hdpo", "gdpo_channels", "fork"])
def test_verl_knows_them_by_name(name: str) -> None:
    assert get_adv_estimator_fn(name) is getattr(advantages, name)
