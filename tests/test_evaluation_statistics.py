"""What figures are worth: intervals and tests agree with textbooks, and paired differences count what changed."""

from __future__ import annotations

import math
import random

import pytest

from agentic_vision.evaluation.outcomes import Outcome
from agentic_vision.evaluation.paired import paired, pairs
from agentic_vision.evaluation.planner import Law, Point, cheapest, fit
from agentic_vision.evaluation.plots import front
from agentic_vision.evaluation.statistics import difference, holm, interval, quantile, sign_test, wilson


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    # Newcombe, Statistics in Medicine 1998, table I, method 3 (score, no continuity correction).
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)
    assert wilson(0, 0) is None


def test_an_interval_is_wilsons_for_shares_and_the_normal_one_for_scores_in_between() -> None:
    assert interval([1, 1, 0]) == wilson(2, 3)
    # Of 0.2, 0.4 and 0.9: mean 0.5, standard deviation sqrt(0.13), over sqrt(3).
    margin = 1.959964 * math.sqrt(0.13 / 3)
    assert interval([0.2, 0.4, 0.9]) == pytest.approx((0.5 - margin, 0.5 + margin))
    assert interval([0.9, 0.95, 1.0, 1.0])[1] == 1  # type: ignore[index]
    assert interval([]) is interval([0.5]) is None  # of one value, nobody knows how far others lie from it


def test_the_interval_of_a_difference_holds_it_as_often_as_it_says() -> None:
    dice = random.Random(0)
    held = 0
    for _ in range(400):
        changes = [(dice.random() < 0.9) - (dice.random() < 0.8) for _ in range(200)]
        low, high = difference(changes)  # type: ignore[misc]
        held += low <= 0.1 <= high
    assert 0.92 < held / 400 < 0.98


def test_the_sign_test_is_the_binomial_one() -> None:
    assert sign_test(0, 0) == 1
    assert sign_test(10, 0) == pytest.approx(2 / 2**10)
    assert sign_test(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert sign_test(3000, 3300) == pytest.approx(sign_test(3300, 3000))
    assert 0 < sign_test(3000, 3300) < 0.001


def test_several_tests_are_adjusted_together() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile(range(1, 101), 0.95) == 95
    assert quantile([], 0.5) is None


def outcome(row: str, score: float | None, *, called: bool = False) -> Outcome:
    return Outcome(row=row, strategy="s", asked="", question="q", references=("7",), score=score, called=called)


def test_gain_and_harm_are_counted_question_by_question() -> None:
    ours = [outcome("a", 1, called=True), outcome("b", 1), outcome("c", 0, called=True), outcome("d", 1)]
    theirs = [outcome("a", 0), outcome("b", 0), outcome("c", 1), outcome("d", 1)]
    unpaired = [outcome("e", 1), outcome("f", None)]
    both = paired({o.row: o for o in [*ours, *unpaired]}, {o.row: o for o in [*theirs, outcome("f", 1)]})
    assert both is not None
    assert (both.n, both.gain, both.harm, both.mended, both.broken) == (4, 2, 1, 1, 1)
    assert both.difference == 0.25
    assert both.p == 1
    assert paired({}, {}) is None
    assert paired({"a": outcome("a", 1)}, {"a": outcome("a", 0)}).interval is None  # type: ignore[union-attr]


def test_rows_of_one_id_are_paired_only_where_they_ask_the_same() -> None:
    ours, theirs = outcome("1", 1), outcome("1", 0)
    assert len(pairs({"1": ours}, {"1": theirs})) == 1
    for other in ({"question": "another?"}, {"references": ("8",)}):
        assert pairs({"1": ours}, {"1": theirs.model_copy(update=other)}) == []


def points(law: Law, shares: tuple[float, ...]) -> list[Point]:
    return [Point(name=f"resize:{t}", tokens=t, accuracy=law.accuracy(t), n=1000) for t in shares]


def test_the_law_is_found_again_in_what_it_made() -> None:
    made = Law(a=0.1, b=0.8, d=0.05, residual=0)
    found = fit(points(made, (0.1, 0.25, 0.5, 0.75, 1.0)))
    assert found is not None
    assert (found.a, found.b, found.d) == pytest.approx((0.1, 0.8, 0.05), abs=0.02)
    assert found.residual < 0.005
    for share in (0.15, 0.4, 0.9):
        assert found.accuracy(share) == pytest.approx(made.accuracy(share), abs=0.01)
    tokens = found.tokens(0.8)
    assert tokens is not None
    assert found.accuracy(tokens) == pytest.approx(0.8)
    assert found.tokens(0.96) is None  # above what full resolution reaches


def test_too_few_shares_are_no_law() -> None:
    made = Law(a=0.1, b=0.8, d=0.05, residual=0)
    assert fit(points(made, (0.25, 1.0))) is None
    assert fit([*points(made, (0.25, 1.0)), *points(made, (0.25,))]) is None


def test_an_accuracy_that_does_not_change_is_a_law_too() -> None:
    flat = fit([Point(name="x", tokens=t, accuracy=1.0, n=10) for t in (0.25, 0.5, 1.0)])
    assert flat is not None
    assert flat.accuracy(0.3) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("accuracies", [(0.7, 0.7, 0.701), (0.001, 0.5, 0.9999), (0.999, 0.9995, 1.0)])
@pytest.mark.parametrize("shares", [(0.25, 0.5, 1.0), (0.5, 0.50001, 0.50002)])
def test_no_law_is_beyond_a_number(shares: tuple[float, ...], accuracies: tuple[float, ...]) -> None:
    law = fit([Point(name="x", tokens=t, accuracy=a, n=100) for t, a in zip(shares, accuracies, strict=True)])
    assert law is not None
    for target in (0.0, 0.5, 0.7, 0.95, 1.0):
        assert 0 <= law.accuracy(max(0.02, target)) <= 1
        assert 0 <= (law.tokens(target) or 0) <= 1


def test_the_cheapest_setting_is_the_one_that_reaches_the_target_for_least() -> None:
    settings = [
        Point(name=name, tokens=tokens, accuracy=accuracy, n=10)
        for name, tokens, accuracy in (("glance", 0.25, 0.5), ("agent", 0.32, 0.94), ("full", 1.0, 0.94))
    ]
    assert cheapest(settings, 0.94) == settings[1]
    assert cheapest(settings, 0.99) is None


def test_the_front_is_what_nothing_beats() -> None:
    assert front([(1.0, 0.9), (0.3, 0.9), (0.25, 0.5), (0.5, 0.7)]) == [(0.25, 0.5), (0.3, 0.9)]
