"""Rewards: the algebra that makes one of several, and functions of one's own."""

# ruff: noqa: ARG001, ARG005 (a reward takes the group, whether or not it needs it)

import asyncio
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from groups import answers, group, score, totals, trajectory

from agentic_vision import ConfigError
from agentic_vision.messages import StopReason
from agentic_vision.training import (
    CallRatioPenalty,
    ExactMatch,
    FormatReward,
    FunctionReward,
    Group,
    Part,
)


def test_rewards_add_up_and_their_parts_are_kept_apart():
    accuracy = ExactMatch()
    reward = accuracy + 0.5 * FormatReward() - CallRatioPenalty(correct=accuracy)
    asked = group(trajectory("417"), trajectory("418"), trajectory("417", tool=True), trajectory(replies=["417"]))
    scores = score(reward, asked)
    assert scores.parts == {
        "accuracy": (1, 0, 1, 0),
        "format": (1, 1, 1, 0),
        "call_ratio_penalty": (0, 0, 0.1, 0),
    }
    assert scores.totals == (1.5, 0.5, 1.4, 0)
    assert scores.valid == (True,) * 4
    assert scores.failures == {}


def test_numbers_and_rewards_combine_on_either_side():
    one = ExactMatch()
    asked = answers("417", "0")
    assert totals(2 - one * 3, asked) == (-1, 2)
    assert totals(1 + one, asked) == (2, 1)
    assert totals(-one, asked) == (-1, 0)
    assert totals(one * FormatReward() * 0.5, asked) == (0.5, 0)


def test_a_reward_that_stands_in_several_places_is_asked_once():
    asked = []

    def accuracy(trajectory, reference):
        asked.append(trajectory)
        return float(trajectory.answer == reference)

    shared = FunctionReward(accuracy)
    scores = score(shared + shared - CallRatioPenalty(correct=shared), answers("417", "0"))
    assert len(asked) == 2
    assert scores.parts["accuracy"] == (1, 0)
    assert scores.totals == (2, 0)


def test_no_verdict_is_no_zero():
    def sometimes(trajectory, reference):
        return None if trajectory.answer == "?" else float(trajectory.answer == reference)

    scores = score(FunctionReward(sometimes) + 0.5 * FormatReward(), answers("417", "?", "0"))
    assert scores.totals == (1.5, None, 0.5)
    assert scores.valid == (True, False, True)
    assert scores.parts == {"sometimes": (1, None, 0), "format": (1, 1, 1)}


def test_a_part_that_raises_leaves_the_others_and_is_recorded():
    def broken(group):
        raise ZeroDivisionError("no luck")

    scores = score(ExactMatch() + FunctionReward(broken), answers("417", "0"))
    assert scores.parts == {"accuracy": (1, 0), "broken": (None, None)}
    assert scores.failures == {"broken": "ZeroDivisionError: no luck"}
    assert scores.valid == (False, False)


def test_a_function_that_raises_for_one_trajectory_scores_the_others():
    def first_number(trajectory, reference):
        return float(next(c for c in trajectory.answer if c.isdigit()))  # StopIteration where there is none

    scores = score(FunctionReward(first_number), answers("417", "none", "9"))
    assert scores.parts == {"first_number": (4, None, 9)}
    assert scores.failures == {"first_number": "RuntimeError: StopIteration:  (1 of 3)"}


def test_a_part_that_was_cancelled_by_others_is_a_failure_and_no_end():
    async def cancelled(group):
        task = asyncio.create_task(asyncio.sleep(9))
        task.cancel()
        await task

    scores = score(ExactMatch() + FunctionReward(cancelled), answers("417"))
    assert scores.parts == {"accuracy": (1,), "cancelled": (None,)}


def test_a_part_that_gives_up_on_another_is_a_failure_and_so_is_the_other():
    class Patient(Part):
        name = "patient"

        async def values(self, scoring):
            await asyncio.sleep(9)
            return (1.0,) * len(scoring.group)

    class Hasty(Part):
        name = "hasty"

        def __init__(self, other):
            self.needs = (other,)

        async def values(self, scoring):
            return await asyncio.wait_for(scoring.of(self.needs[0]), 0.02)

    scores = score(ExactMatch() + Hasty(Patient()), answers("417"))
    assert scores.parts == {"accuracy": (1,), "hasty": (None,), "patient": (None,)}
    assert scores.failures.keys() == {"hasty", "patient"}
    assert scores.failures["hasty"].startswith("TimeoutError")


def test_giving_up_ends_all_that_is_being_asked():
    ended = []

    async def patient(trajectory, reference):
        try:
            await asyncio.sleep(9)
        finally:
            ended.append(trajectory)

    async def give_up():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for((ExactMatch() + FunctionReward(patient)).score(answers("417", "0")), 0.02)
        assert len(ended) == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(give_up())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0], "1 scores for 2"),
        ([1.0, float("nan")], "finite"),
        ([1.0, "1"], "'1' is no score"),
        (3, "a function of one argument gets the group, and gave 3"),
        ("10", "no"),
    ],
)
def test_scores_that_are_none_are_a_failure(values, says):
    scores = score(FunctionReward(lambda group: values, "mine"), answers("417", "0"))
    assert says in scores.failures["mine"]
    assert scores.valid == (False, False)


async def slowly(trajectory, reference):
    await asyncio.sleep(0.001)
    return float(trajectory.answer == reference)


def with_more(trajectory, reference=None, *rest, weight=1.0, **options):
    return weight * (trajectory.answer == reference)


class Longer:
    """An object that can be called."""

    def __call__(self, group):
        longest = max(len(t.answer) for t in group.trajectories)
        return [len(t.answer) / longest for t in group.trajectories]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (slowly, (1.0, 0.0)),
        (lambda trajectory, reference: trajectory.answer == reference, (1.0, 0.0)),
        (lambda group: [1, None], (1.0, None)),
        (lambda them: [1, None], (1.0, None)),
        (lambda group, weight=2: [weight, None], (2.0, None)),
        (with_more, (1.0, 0.0)),
        (Longer(), (1.0, 1 / 3)),
    ],
)
def test_any_function_is_a_reward(function, expected):
    assert totals(0 + FunctionReward(function), answers("417", "0")) == expected


def test_a_function_may_stand_in_a_sum_as_it_is():
    scores = score(ExactMatch() + slowly, answers("417", "0"))
    assert scores.parts["slowly"] == (1, 0)
    assert scores.totals == (2, 0)


def test_parts_stand_in_the_order_of_the_sum_whichever_is_done_first():
    slow = FunctionReward(slowly, "accuracy")
    scores = score(slow + ExactMatch() - CallRatioPenalty(correct=ExactMatch()), answers("417.", "417"))
    assert list(scores.parts.items()) == [
        ("accuracy", (0, 1)),
        ("accuracy_2", (1, 1)),
        ("call_ratio_penalty", (0, 0)),
        ("accuracy_3", (1, 1)),
    ]


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(2), Fraction(1, 2)])
def test_any_finite_number_will_do(number):
    assert totals(number * ExactMatch(), answers("417", "0")) == (float(number), 0)


@pytest.mark.parametrize("wrong", ["0.5", None, float("nan"), True, ExactMatch, lambda: 1, lambda a, b, c: 1])
def test_what_is_no_reward_is_refused(wrong):
    with pytest.raises(ConfigError, match="reward"):
        ExactMatch() + wrong


@pytest.mark.parametrize("wrong", [[], 417, None, ["417", 417]])
def test_a_group_needs_a_reference_in_words(wrong):
    with pytest.raises(ConfigError, match="reference"):
        Group([trajectory("1")], wrong)


def test_a_group_goes_to_other_processes():
    asked = answers("417", "0", options=["417", "0"])
    again = pickle.loads(pickle.dumps(asked))
    assert (again.trajectories, again.references, again.row) == (asked.trajectories, asked.references, asked.row)


def test_a_policy_that_failed_has_no_verdict_where_one_that_gave_up_is_wrong():
    asked = group(*(trajectory(stop=reason) for reason in (StopReason.POLICY_FAILED, StopReason.TURN_LIMIT)))
    assert totals(ExactMatch(), asked) == (None, 0)


def test_rewards_need_neither_torch_nor_verl():
    code = (
        "import sys; import agentic_vision.training;"
        "loaded = {'torch', 'transformers', 'verl', 'ray', 'openai'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
