"""How a question ends: limits, budgets, failures, bad input."""

import time

import pytest
from scripted_agent import ANSWER, FAMILY, FULL, Failing, ask, crop

from agentic_vision import ConfigError, ImageError, PolicyError, VisionAgent
from agentic_vision.limits import MAX_MALFORMED
from agentic_vision.messages import FailureKind, ProblemKind, StopReason
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Reply

# How it ends


def test_a_malformed_turn_is_reported_back_and_may_be_mended(picture):
    result = ask(["<answer></answer>", ANSWER], picture)
    assert result.answer == "417"
    turn, _ = result.trajectory.turns
    assert turn.problem.kind is ProblemKind.EMPTY_ANSWER
    assert result.trajectory.observations[-1].text == turn.problem.message


def test_too_many_malformed_turns_end_it(picture):
    result = ask(["417, I think"], picture, max_turns=9)
    assert (result.answer, result.stop_reason) == (None, StopReason.MALFORMED)
    assert len(result.trajectory.turns) == MAX_MALFORMED


def test_a_cut_reply_is_too_long(picture):
    result = ask([Reply(text="<think>Let me see", truncated=True), ANSWER], picture)
    assert result.trajectory.turns[0].problem.kind is ProblemKind.TOO_LONG


def test_the_turn_limit_ends_it_without_a_last_look(picture):
    result = ask([crop(0, 0, 500, 500), crop(0, 0, 400, 400), ANSWER], picture, max_turns=2)
    assert (result.answer, result.stop_reason) == (None, StopReason.TURN_LIMIT)
    assert len(result.trajectory.views) == 2


def test_the_same_call_is_made_once_and_asked_twice_in_a_row_ends_it(picture):
    result = ask([crop(0, 0, 500, 500, image=1)], picture, max_turns=9)
    assert result.stop_reason is StopReason.REPEATED_CALL
    _, first, second, third = result.trajectory.observations
    assert first.view is not None
    assert second.failure.kind is third.failure.kind is FailureKind.REPEATED


def test_a_view_that_was_shown_already_is_not_shown_again(picture):
    result = ask([FULL, FULL, ANSWER], picture)
    failure = result.trajectory.observations[-1].failure
    assert failure.kind is FailureKind.REPEATED
    assert "Image 2" in failure.message
    assert result.answer == "417"


def test_another_call_in_between_is_no_loop(picture):
    box = crop(0, 0, 500, 500, image=1)
    result = ask([box, box, crop(9, 9, 99, 99, image=1), box, ANSWER], picture, max_turns=9)
    assert result.stop_reason is StopReason.ANSWERED


def test_a_view_over_the_budget_is_refused_and_asked_for_again_ends_it(picture):
    glance = FAMILY.glance((1200, 900)).tokens
    result = ask([FULL, ANSWER], picture, max_visual_tokens=glance + 100)
    assert result.answer == "417"
    failure = result.trajectory.observations[-1].failure
    assert failure.kind is FailureKind.OVER_BUDGET
    assert "Answer with what you have seen" in failure.message
    assert result.usage.visual_tokens == glance

    result = ask([FULL, FULL, ANSWER], picture, max_visual_tokens=glance + 100)
    assert (result.answer, result.stop_reason) == (None, StopReason.TOKEN_BUDGET)


def test_a_closer_look_shrinks_to_what_is_left_of_the_budget_while_it_shows_more_than_was_seen(picture):
    glance = FAMILY.glance((1200, 900)).tokens
    whole = ask([crop(0, 0, 500, 500), ANSWER], picture).trajectory.views[1]
    cost = FAMILY.tokens(whole.size)
    result = ask([crop(0, 0, 500, 500), ANSWER], picture, max_visual_tokens=glance + cost // 2)
    first, second = result.trajectory.views
    assert second.box == whole.box
    assert first.detail < second.detail < whole.detail
    assert glance < result.usage.visual_tokens <= glance + cost // 2
    result = ask([crop(0, 0, 500, 500), ANSWER], picture, max_visual_tokens=glance + cost // 5)
    assert result.trajectory.observations[-1].failure.kind is FailureKind.OVER_BUDGET


def test_the_glance_counts_and_shrinks_to_the_budget(picture):
    result = ask([ANSWER], [picture, picture], max_visual_tokens=200)
    assert result.answer == "417"
    assert 100 < result.usage.visual_tokens <= 200


def test_a_budget_below_the_cheapest_look_ends_it_at_once(picture):
    result = ask([ANSWER], picture, max_visual_tokens=3)
    assert (result.stop_reason, result.trajectory.steps) == (StopReason.TOKEN_BUDGET, ())
    assert "max_visual_tokens=3" in result.trajectory.detail


def test_a_policy_that_fails_is_a_result_with_its_reason(picture):
    policy = Failing(PolicyError("the endpoint is down"))
    result = VisionAgent(policy).ask(picture, "Which number?")
    assert (result.answer, result.stop_reason) == (None, StopReason.POLICY_FAILED)
    assert result.trajectory.detail == "the endpoint is down"
    assert policy.forgotten == [result.trajectory.id]


def test_an_empty_script_is_told(picture):
    with pytest.raises(ConfigError, match="the script is empty: give ScriptedPolicy one reply or more"):
        ask([], picture)


def test_the_deadline_ends_it(picture):
    started = time.perf_counter()
    result = VisionAgent(Failing(seconds=60), deadline=0.05).ask(picture, "Which number?")
    assert result.stop_reason is StopReason.DEADLINE
    assert time.perf_counter() - started < 30


def test_a_bug_of_the_policy_is_not_hidden(picture):
    with pytest.raises(ZeroDivisionError):
        VisionAgent(Failing(ZeroDivisionError())).ask(picture, "Which number?")


# Bad input


@pytest.mark.parametrize("question", ["", "  ", None])
def test_an_empty_question_is_refused(picture, question):
    with pytest.raises(ConfigError, match="question"):
        ask([ANSWER], picture, question)


def test_no_image_and_a_broken_one_are_refused():
    with pytest.raises(ConfigError, match="image"):
        ask([ANSWER], [])
    with pytest.raises(ImageError):
        ask([ANSWER], b"not an image")


@pytest.mark.parametrize(
    "options",
    [
        {"glance": 0},
        {"glance": 1.5},
        {"glance": "a quarter"},
        {"max_turns": 0},
        {"max_turns": None},
        {"max_turns": "3"},
        {"max_turns": True},
        {"max_visual_tokens": 0},
        {"max_visual_tokens": 2.5},
        {"deadline": -1},
        {"deadline": float("nan")},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        VisionAgent(ScriptedPolicy([ANSWER]), **options)


def test_what_is_no_policy_is_refused():
    with pytest.raises(ConfigError, match="policy"):
        VisionAgent(object())
