"""What an evaluation's figures mean: answers that match, intervals, whose calls count, which boxes cover."""

from __future__ import annotations

from typing import Any

import pytest

from agentic_vision.evaluation.outcomes import Outcome, Trouble
from agentic_vision.evaluation.scores import score
from agentic_vision.matching import normalised
from agentic_vision.messages import (
    Failure,
    FailureKind,
    Observation,
    Problem,
    ProblemKind,
    StopReason,
    ToolCall,
    Trajectory,
    Turn,
    Usage,
)
from agentic_vision.rows import Row
from agentic_vision.view import Box, View

EVIDENCE = (40.0, 40.0, 60.0, 50.0)


def zoom(number: int, box: tuple[float, float, float, float] | None) -> list[Turn | Observation]:
    """A turn that calls zoom_crop and what came back: the view of `box`, or a failure."""
    call = ToolCall(id=f"call_{number}", name="zoom_crop")
    if box is None:
        failure = Failure(kind=FailureKind.OUTSIDE_IMAGE, message="outside")
        return [Turn(text="", calls=(call,)), Observation(call=call, failure=failure)]
    view = View.whole((100, 100)).crop(Box.of(box))
    return [Turn(text="", calls=(call,)), Observation(call=call, view=view, image=2, visual_tokens=10)]


def outcome(*steps: Turn | Observation, **changes: Any) -> Outcome:
    """One that answered 7, and rightly so, on a fine question; `changes` are of its fields, and of what it spent."""
    given = {"answer": "7", **changes}
    trajectory = Trajectory(
        id="t",
        question="q",
        sources=(),
        family="pocket",
        steps=steps,
        answer=given["answer"],
        stop_reason=changes.pop("stop", StopReason.ANSWERED),
        usage=Usage(visual_tokens=changes.pop("spent", 25), full_resolution_tokens=100),
    )
    row = Row(id="r", images=("x",), question="q", answer="7", kind=changes.pop("kind", "fine"), evidence=EVIDENCE)
    asked = Outcome.about(row, "agent", "digest").ended_as(
        trajectory,
        row,
        forced=changes.pop("forced", False),
        processed=changes.pop("processed", 1.0),
        remembered=False,
    )
    return asked.model_copy(update={"score": 1.0, **changes})


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (" Top  LEFT.", "top left"),
        ('"7"', "7"),
        ("\uff26\uff35\uff2c\uff2c", "full"),
        ("Straße", "STRASSE"),
        ("12.40", "12.40"),
    ],
)
def test_answers_match_up_to_case_blanks_and_outer_punctuation(answer: str, reference: str) -> None:
    assert normalised(answer) == normalised(reference)


@pytest.mark.parametrize(("answer", "reference"), [("12.4", "12.40"), ("-3", "3"), ("1 7", "17"), (None, "7")])
def test_numbers_and_missing_answers_do_not_match_by_goodwill(answer: str | None, reference: str) -> None:
    assert normalised(answer) != normalised(reference)


def test_accuracy_is_told_apart_by_kind() -> None:
    scores = score([outcome(kind="coarse"), outcome(kind="fine", score=0.0), outcome(kind=None)])
    assert (scores.n, scores.accuracy, scores.accuracy_coarse, scores.accuracy_fine) == (3, 2 / 3, 1.0, 0.0)


def test_figures_without_anything_to_count_are_none_not_zero() -> None:
    scores = score([outcome(kind="coarse")])
    assert (scores.accuracy_fine, scores.malformed, scores.box_covers_evidence) == (None, None, None)
    assert score([]).accuracy is None


def test_what_is_in_trouble_counts_in_no_accuracy_and_what_failed_in_no_figure_at_all() -> None:
    failed = outcome(score=None, trouble=Trouble.POLICY_FAILED, spent=90)
    judged = outcome(score=None, trouble=Trouble.NO_VERDICT, spent=50)
    scores = score([outcome(), failed, judged, outcome(score=0.0), outcome(score=None, trouble=Trouble.BAD_ROW)])
    assert (scores.n, scores.accuracy) == (5, 0.5)
    assert scores.trouble == {Trouble.POLICY_FAILED: 1, Trouble.NO_VERDICT: 1, Trouble.BAD_ROW: 1}
    assert scores.visual_tokens_ratio == pytest.approx((25 + 50 + 25) / 300)


def test_pruned_views_cost_what_the_layers_worked_on() -> None:
    assert score([outcome(processed=0.5), outcome()]).visual_tokens_ratio == pytest.approx((12.5 + 25) / 200)


def test_scenes_have_figures_of_their_own() -> None:
    scores = score([outcome(*zoom(1, None), scene="maps"), outcome(scene="maps", score=0.0), outcome(scene="cards")])
    assert {name: (scene.n, scene.accuracy, scene.call_ratio) for name, scene in scores.scenes.items()} == {
        "cards": (1, 1, 0),
        "maps": (2, 0.5, 0.5),
    }


def test_visual_tokens_are_summed_before_they_are_divided() -> None:
    assert score([outcome(spent=25), outcome(spent=75)]).visual_tokens_ratio == 0.5


def test_a_box_covers_only_when_all_of_the_evidence_is_inside() -> None:
    covering, cutting = zoom(1, (30, 30, 70, 60)), zoom(2, (45, 30, 70, 60))
    scores = score([outcome(*covering, *cutting), outcome(*zoom(1, None))])
    assert scores.box_covers_evidence == pytest.approx(1 / 3)
    assert scores.call_ratio == 1.0


def test_a_box_on_another_image_covers_no_evidence() -> None:
    turn, seen = zoom(1, (30, 30, 70, 60))
    assert isinstance(seen, Observation)
    assert seen.view is not None
    elsewhere = seen.model_copy(update={"view": seen.view.model_copy(update={"source": 1})})
    assert score([outcome(turn, elsewhere)]).box_covers_evidence == 0


def test_boxes_are_counted_on_fine_questions_only() -> None:
    assert score([outcome(*zoom(1, (30, 30, 70, 60)), kind="coarse")]).box_covers_evidence is None


def test_scripted_calls_are_not_the_policys() -> None:
    scripted, own = zoom(1, (30, 30, 70, 60)), zoom(2, None)
    scores = score([outcome(*scripted, *own, forced=True)])
    assert (scores.calls, scores.box_covers_evidence, scores.call_ratio) == (1, 0.0, 1.0)


def test_a_malformed_call_is_one_that_no_tool_could_have_understood() -> None:
    good = zoom(1, None)  # outside the image: a wrong box, but well-formed
    call = ToolCall(id="call_2", name="zom_crop")
    unknown = Failure(kind=FailureKind.UNKNOWN_TOOL, message="unknown")
    bad_name = [Turn(text="", calls=(call,)), Observation(call=call, failure=unknown)]
    bad_json = Turn(text="<tool_call>{", problem=Problem(kind=ProblemKind.UNCLOSED_CALL, message="?"))
    silent = Turn(text="hm", problem=Problem(kind=ProblemKind.NO_ACTION, message="?"))
    scores = score([outcome(*good, *bad_name, bad_json, silent)])
    assert (scores.calls, scores.malformed) == (3, pytest.approx(2 / 3))


def test_an_end_without_an_answer_is_counted() -> None:
    ended = outcome(stop=StopReason.TURN_LIMIT, answer=None, score=0.0)
    assert score([outcome(), ended]).no_answer == 0.5
