"""The call-ratio penalty against Equations 4 and 5 of VisionThink, on groups worked out by hand.

A group is written as its trajectories' actions: D direct, T with a tool, capitals right, small letters wrong.
"""

# ruff: noqa: ARG005 (a reward takes the trajectory, whether or not it needs it)

import asyncio

import pytest
from groups import acted, answers

from agentic_vision import ConfigError
from agentic_vision.training import CallRatioPenalty, ExactMatch, FormatReward, FunctionReward


def lost(actions, variant, **options):
    """Tenths lost, one digit a trajectory."""
    penalty = CallRatioPenalty(ExactMatch(), variant=variant, **options)
    return "".join(str(round(10 * loss)) for loss in asyncio.run(penalty.score(acted(actions))).totals)


@pytest.mark.parametrize(
    ("actions", "paper", "released"),
    [
        # all direct: r = 1, no tool to lose
        ("DDDD", "0000", "0000"),
        ("DDdd", "0000", "0000"),
        # all tool: r = 0 < θ, and no direct answer to lose; the released trainer takes from tool users in every group
        ("TTTT", "0000", "1111"),
        ("TTtt", "0000", "1100"),
        # none correct: no r
        ("dddd", "0000", "0000"),
        ("tdtd", "0000", "0000"),
        # r = 1/5, exactly at θ: tools lose
        ("DTTTT", "01111", "01111"),
        ("DTTTTtd", "0111110", "0111100"),
        # r = 1/6 < θ: direct answers lose, right or wrong in the paper, right ones alone in the release
        ("DTTTTT", "100000", "111111"),
        ("DTTTTTdt", "10000010", "11111100"),
        # r = 0 with wrong direct answers: the paper takes from them, the release from no direct answer
        ("TTdd", "0011", "1100"),
        # r = 1/2
        ("DTdt", "0101", "0100"),
        # r counts correct trajectories alone: 1 of 2, though most are direct
        ("DTdddddd", "01000000", "01000000"),
    ],
)
def test_equation_5(actions, paper, released):
    assert lost(actions, "paper") == paper
    assert lost(actions, "released") == released


def test_equation_4_adds_up():
    accuracy = ExactMatch()
    reward = accuracy + 0.5 * FormatReward() - CallRatioPenalty(correct=accuracy, threshold=0.2, weight=0.1)
    totals = asyncio.run(reward.score(acted("DTdt"))).totals
    assert totals == pytest.approx((1.5, 1.4, 0.5, 0.4))


def test_threshold_and_weight():
    assert lost("DTTT", "paper", threshold=0.25) == "0111"
    assert lost("DTTT", "paper", threshold=0.26) == "1000"
    assert lost("DTTT", "paper", weight=0.3) == "0333"
    assert lost("DTTT", "paper", threshold=0.0) == "0111"  # a penalty on every tool use


def test_without_a_verdict_a_trajectory_is_not_counted():
    judge = FunctionReward(lambda t, reference: None if t.answer == "?" else float(t.answer == reference))
    paper = asyncio.run(CallRatioPenalty(judge).score(answers("417", "?", "417")))
    assert paper.totals == (0, 0, 0)
    released = asyncio.run(CallRatioPenalty(judge, variant="released").score(answers("417", "?", "417")))
    assert released.totals == (0, None, 0)


def test_where_nothing_was_judged_there_is_no_penalty_to_know():
    down = FunctionReward(lambda t, reference: None, "judge")
    for variant in ("paper", "released"):
        scores = asyncio.run((ExactMatch() - CallRatioPenalty(down, variant=variant)).score(answers("417", "0")))
        assert scores.valid == (False, False)


@pytest.mark.parametrize("wrong", [{"threshold": 1.2}, {"variant": "mine"}, {"weight": -1}, {"correct": "accuracy"}])
def test_impossible_settings(wrong):
    with pytest.raises(ConfigError):
        CallRatioPenalty(**{"correct": ExactMatch(), **wrong})
