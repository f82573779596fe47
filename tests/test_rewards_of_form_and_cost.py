"""Rewards of the protocol's form and of visual tokens: what each of them says of a group."""

import asyncio
import time

import pytest
from groups import CALL, group, totals, trajectory

from agentic_vision import ConfigError
from agentic_vision.messages import Failure, FailureKind
from agentic_vision.protocol import write
from agentic_vision.training import (
    ExactMatch,
    FormatReward,
    VisualBudget,
    VisualCost,
)
from agentic_vision.training.recipes import rewards

ANSWER = write(thought="I see it.", answer="417")
TWO_CALLS = [CALL + CALL[CALL.index("<tool_call>") :], ANSWER]
TEMPLATE_THINKS = ["I see it.</think><answer>417</answer>"]


@pytest.mark.parametrize(
    "replies",
    [[ANSWER], [CALL, ANSWER], TWO_CALLS, TEMPLATE_THINKS],
)
def test_the_protocol_is_rewarded(replies):
    assert totals(FormatReward(), group(trajectory(replies=replies))) == (1,)


@pytest.mark.parametrize(
    "replies",
    [
        ["417"],
        ["<answer>417</answer>"],
        ["<think> </think><answer>417</answer>"],
        ["Well. " + ANSWER],
        [ANSWER + " I hope."],
        ["<think>a<think>b</think><answer>417</answer>"],
        [CALL],
        [CALL, "<answer>417</answer>"],
        ["<think>a</think><tool_call>{</tool_call>", ANSWER],
        [CALL + "<answer>417</answer>", ANSWER],
    ],
)
def test_one_turn_out_of_form_loses_the_reward(replies):
    assert totals(FormatReward(), group(trajectory(replies=replies))) == (0,)


def test_a_call_that_no_tool_accepts_is_out_of_form_but_a_tool_that_failed_is_not():
    def failed(kind):
        return trajectory("417", tool=True, failure=Failure(kind=kind, message="no"))

    asked = group(*map(failed, (FailureKind.UNKNOWN_TOOL, FailureKind.BAD_ARGUMENTS, FailureKind.TIME_LIMIT)))
    assert totals(FormatReward(), asked) == (0, 0, 1)


def test_a_long_reply_is_checked_in_no_time():
    inner = "</think><answer>" * 10_000
    began = time.perf_counter()
    assert totals(FormatReward(), group(trajectory(replies=[f"<think>a</think>{inner}</answer>"]))) == (0,)
    assert time.perf_counter() - began < 1  # an expression that tries every place would take minutes


def test_visual_cost_is_the_share_of_full_resolution():
    assert totals(VisualCost(), group(trajectory("1"), trajectory("1", tokens=125))) == (0.25, 1.25)


def test_visual_cost_beyond_what_is_free() -> None:
    assert totals(VisualCost(free=0.5), group(trajectory("1"), trajectory("1", tokens=125))) == (0.0, 0.75)
    with pytest.raises(ConfigError, match="free is -1"):
        VisualCost(free=-1)


class TestVisualBudget:
    """The price of visual tokens follows what was spent."""

    def test_it_is_charged_before_it_changes(self) -> None:
        budget = VisualBudget(0.5, price=2.0, rate=0.1)
        dear = group(trajectory("1", tokens=100), trajectory("1", tokens=50))  # 1/4 too much in the mean
        assert totals(budget, dear) == (2.0, 1.0)
        budget.learn([dear])
        assert budget.price == pytest.approx(2.025)
        cheap = group(trajectory("1", tokens=25), trajectory("1", tokens=25))
        assert totals(budget, cheap) == pytest.approx((0.50625, 0.50625))
        budget.learn([cheap])
        assert budget.price == pytest.approx(2.0)

    def test_scoring_leaves_it_as_it_is(self) -> None:
        """As validation scores: what was looked at there is no part of the training."""
        budget = VisualBudget(0.5, price=2.0, rate=0.1)
        totals(ExactMatch() - budget, group(trajectory("1", tokens=100)))
        assert budget.price == 2.0

    def test_a_batch_moves_it_by_each_of_its_groups(self) -> None:
        one, several = VisualBudget(0.5, rate=0.1), VisualBudget(0.5, rate=0.1)
        groups = [group(trajectory("1", tokens=tokens)) for tokens in (100, 25, 80)]
        for each in groups:
            one.learn([each])
        several.learn(groups)
        assert several.price == one.price == pytest.approx(1 + 0.1 * (0.5 - 0.25 + 0.3))

    def test_it_never_pays_for_looking(self) -> None:
        budget = VisualBudget(0.9, price=0.01, rate=1.0)
        budget.learn([group(trajectory("1", tokens=25))])
        assert budget.price == 0.0

    def test_of_a_policy_that_answers_at_random_it_makes_one_that_keeps_to_the_budget(self) -> None:
        budget, share = VisualBudget(0.4, rate=0.5), 1.0
        for _ in range(400):  # who pays more than it gets (here: 1/2 for full resolution) calls less
            spent = [100 if n < share * 10 else 25 for n in range(10)]
            budget.learn([group(*(trajectory("1", tokens=tokens) for tokens in spent))])
            share = min(max(share + 0.1 * (0.5 - 0.75 * budget.price), 0.0), 1.0)
        assert sum(spent) / 1000 == pytest.approx(0.4, abs=0.16)

    def test_settings_that_cannot_be(self) -> None:
        with pytest.raises(ConfigError, match="above 0"):
            VisualBudget(0.0)


def test_within_a_budget_being_malformed_is_never_the_cheapest_way_to_be_wrong():
    dear = rewards.within_budget(price=4.0, most=4.0)
    called, wrong, malformed = asyncio.run(
        dear.score(group(trajectory("417", tool=True, tokens=40), trajectory("8"), trajectory(replies=["<think>8"])))
    ).totals
    assert called == pytest.approx(1 + 1 - 4 * 0.40)
    assert called > malformed
    assert wrong > malformed
