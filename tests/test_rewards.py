"""Rewards: the algebra that makes one of several, and what each of them says of a group."""

# ruff: noqa: ARG001, ARG005 (a reward takes the group, whether or not it needs it)

import asyncio
import pickle
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from groups import CALL, answers, group, trajectory
from hypothesis import given
from hypothesis import strategies as st

from agentic_vision import ConfigError
from agentic_vision.messages import Failure, FailureKind, StopReason
from agentic_vision.protocol import write
from agentic_vision.training import (
    Anls,
    CallRatioPenalty,
    ExactMatch,
    FormatReward,
    FunctionReward,
    Group,
    MultipleChoice,
    NumericMatch,
    VisualCost,
)
from agentic_vision.training.rewards.accuracy import levenshtein, numbers


def score(reward, asked):
    return asyncio.run(reward.score(asked))


def totals(reward, asked):
    return score(reward, asked).totals


# The algebra


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
        (3, "iter"),
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


# Accuracy


def test_exact_match_forgives_case_blanks_and_outer_punctuation_and_takes_any_reference():
    asked = answers("  A  red CARD. ", "red card", "the blue card", None, reference=["a red card", "red card"])
    assert totals(ExactMatch(), asked) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("12.40", ["$12.4", "12.40 EUR", "It is 12.40."], ["12.41", "1240", "12.40 or 12.50", "12,40", "", "twelve"]),
        ("1,234", ["1234", "1\u202f234", "1.234e3"], ["1.234", "234", "1 234", "1,2345"]),
        ("1234567", ["1,234,567", "12,34,567"], ["1,23,4567"]),
        ("-7", ["\u22127", "-7.0", "-$7", "\u20137"], ["7"]),
        ("7", ["A-7", "7 of them"], ["-7", "7\u00bd", "7\u2075"]),
        ("45%", ["45 %", "45"], ["0.45"]),
        ("0.75", ["3/4", "3 / 4", ".75"], ["3/4/5", "3", "3/0"]),
        ("5000000", ["5 million", "5M", "$5000k"], ["5", "5 m"]),
        ("12:30", ["12:30"], ["12.30", "1230"]),
        ("2020-01-05", ["2020-01-05"], ["2020"]),
        ("many", ["Many"], ["3"]),
    ],
)
def test_numeric_match(reference, right, wrong):
    asked = answers(*right, *wrong, reference=reference)
    assert totals(NumericMatch(), asked) == (1,) * len(right) + (0,) * len(wrong)


def test_numeric_match_within_a_share():
    assert totals(NumericMatch(0.05), answers("95", "94.9", "105", reference="100")) == (1, 0, 1)
    with pytest.raises(ConfigError, match="tolerance"):
        NumericMatch(-1)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: f"{x:.3f}"))
def test_a_printed_number_is_read_back(text):
    assert [float(number) for number in numbers(f"about {text}!")] == [float(text)]


def test_anls():
    asked = answers("Main Street", "main streat", "man", "", reference=["main street", "elm street"])
    assert totals(Anls(), asked) == (1, 1 - 1 / 11, 0, 0)
    assert totals(Anls(), answers("", "ac", reference=["", "ab"])) == (1, 0)  # half alike is not above the threshold


def test_an_endless_answer_is_not_measured(monkeypatch):
    monkeypatch.setattr("agentic_vision.training.rewards.accuracy.levenshtein", lambda *_: pytest.fail("measured"))
    assert totals(Anls(), answers("x" * 100_000)) == (0,)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_levenshtein_is_a_distance(a, b):
    assert levenshtein(a, b) == levenshtein(b, a)
    assert (levenshtein(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))
    assert levenshtein("x" + a, "x" + b) == levenshtein(a, b)


def test_multiple_choice_reads_letters_and_the_options_own_words():
    right = ["B", "b", "(b)", "B. a dog", "The answer is B.", "Answer: (b)", "option B", "A dog", "**B**, a dog"]
    right += ["It's B", "\\boxed{B}", "Final answer:\nB", "B because it is red", "I think it is B", "B - a dog"]
    wrong = ["A", "A. a cat", "A or B", "The answer is C", "a bird", "no idea", "", "A. a cat\nB. a dog", "Option A/B"]
    wrong += ["A: maybe B", "Option B is wrong; it is C", "A, B"]
    asked = answers(*right, *wrong, reference="B", options=np.array(["a cat", "a dog"]))
    assert totals(MultipleChoice(), asked) == (1,) * len(right) + (0,) * len(wrong)
    assert totals(MultipleChoice(), answers("B", reference="a dog", options=["a cat", "a dog"])) == (1,)


def test_multiple_choice_says_where_the_data_are_wrong():
    assert "names no choice" in score(MultipleChoice(), answers("B", reference="a dog")).failures["accuracy"]
    assert "list" in score(MultipleChoice(), answers("B", reference="B", options="a cat, a dog")).failures["accuracy"]


# Form and cost

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


def test_rewards_need_neither_torch_nor_verl():
    code = (
        "import sys; import agentic_vision.training;"
        "loaded = {'torch', 'transformers', 'verl', 'ray', 'openai'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
