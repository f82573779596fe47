"""The rules by which answers are compared, as evaluation and rewards both ask them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_vision.errors import ConfigError, RowError
from agentic_vision.matching import MATCHERS, matcher
from agentic_vision.matching.anls import levenshtein
from agentic_vision.matching.numbers_in import numbers
from agentic_vision.matching.vqa import as_said


@pytest.mark.parametrize(
    ("rule", "answer", "references", "options", "score"),
    [
        ("exact", " Red. ", ["blue", "red"], (), 1),
        ("exact", "red card", ["red"], (), 0),
        ("numeric", "$1,234", ["1234.0"], (), 1),
        ("numeric", "1235", ["1234"], (), 0),
        ("relaxed", "104", ["100"], (), 1),
        ("relaxed", "95", ["100"], (), 1),
        ("relaxed", "106", ["100"], (), 0),
        ("relaxed", "0.01", ["0"], (), 0),
        ("relaxed", "Norwey", ["Norway"], (), 0),
        ("relaxed", "norway", ["Norway"], (), 1),
        ("anls", "main streat", ["elm street", "Main Street"], (), 1 - 1 / 11),
        ("choice", "The answer is (b).", ["B"], (), 1),
        ("choice", "a dog", ["B"], ["a cat", "a dog"], 1),
        ("choice", "a dog", ["B"], (), 0),
        ("choice", "The answer is a dog.", ["A"], ["a cat", "a dog"], 0),
        ("choice", "The answer is i think b", ["I"], (), 0),
        ("choice", "The answer is a.", ["A"], ["a cat", "a dog"], 1),
        ("choice", "answer: (a) a cat", ["A"], ["a cat", "a dog"], 1),
        ("choice", "Option a is right", ["A"], ["a cat", "a dog"], 1),
        ("choice", "B. X-ray", ["B"], ["MRI", "X-ray image"], 1),
        ("choice", "The answer is B: an X-ray", ["B"], ["MRI", "X-ray image"], 1),
        ("choice", "B, a T-shirt", ["B"], ["a hat", "a shirt"], 1),
        ("choice", "B. vitamin C", ["B"], ["iron", "vitamin C"], 1),
        ("choice", "D. vitamin C", ["C"], ["a hat", "a shirt", "a shoe"], 0),
        ("choice", "B is wrong, it is C", ["B"], ["a hat", "a shirt"], 0),
        ("choice", "A or B", ["B"], ["a hat", "a shirt"], 0),
        ("choice", "C", ["B"], ["a hat", "a shirt"], 0),
        ("numeric", "1/" + "1" * 5000, ["7"], (), 0),
        ("numeric", "5" * 5000, ["7"], (), 0),
        ("numeric", "3/" + "0" * 5000, ["7"], (), 0),
        ("vqa", "two", ["2"] * 4 + ["3"] * 6, (), 1),
        ("vqa", "two", ["2"] * 3 + ["3"] * 7, (), 0.9),
        ("vqa", "two", ["2"] * 2 + ["3"] * 8, (), 0.6),
        ("vqa", "two", ["2"] + ["3"] * 9, (), 0.3),
        ("vqa", "two", ["3"] * 10, (), 0),
    ],
)
def test_the_rules_by_name(rule, answer, references, options, score):
    assert matcher(rule).compare(answer, references, options) == pytest.approx(score)


def test_vqa_is_the_mean_over_the_sets_that_leave_one_person_out():
    for said in range(11):
        people = ["yes"] * said + ["no"] * (10 - said)
        each = [min(1, (people[:n] + people[n + 1 :]).count("yes") / 3) for n in range(10)]
        assert matcher("vqa").compare("Yes!", people) == pytest.approx(sum(each) / 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The Two dogs, dont", "2 dogs don't"),
        ("1,000.5", "1000.5"),
        ("a.m.", "am"),
        ("2:50 pm.", "2:50 pm"),
        ("girl's red-hat!", "girl's red hat"),
        ("yes,no", "yes no"),
        ("none", "0"),
        (".5", ".5"),
        ("an", ""),
    ],
)
def test_what_vqa_compares(text, said):
    assert as_said(text) == said


def test_a_row_that_a_rule_cannot_use_is_told():
    with pytest.raises(RowError, match="names no choice"):
        matcher("choice").compare("B", ["a dog"])
    with pytest.raises(RowError, match="has 1 reference answers"):
        matcher("vqa").compare("B", ["B"])
    for rule in MATCHERS.values():
        with pytest.raises(RowError, match="reference"):
            rule.compare("B", [])


def test_an_unknown_rule_is_told_with_the_known_ones():
    with pytest.raises(ConfigError, match="'levenshtein': choose from exact, numeric, relaxed, anls, choice, vqa"):
        matcher("levenshtein")


@given(st.text(max_size=30), st.lists(st.text(max_size=30), min_size=4, max_size=10))
def test_scores_are_shares_and_every_reference_is_an_answer(answer, references):
    for name in ("exact", "numeric", "relaxed", "anls", "vqa"):
        assert 0 <= matcher(name).compare(answer, references) <= 1
        if name not in ("numeric", "relaxed", "vqa"):  # one number in two texts; a person alone is not enough
            assert matcher(name).compare(references[0], references) == 1


@given(st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: f"{x:.3f}"))
def test_a_printed_number_is_read_back(text):
    assert [float(number) for number in numbers(f"about {text}!")] == [float(text)]


def test_an_endless_answer_is_not_measured(monkeypatch):
    monkeypatch.setattr("agentic_vision.matching.anls.levenshtein", lambda *_: pytest.fail("measured"))
    assert matcher("anls").compare("x" * 100_000, ["417"]) == 0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_levenshtein_is_a_distance(a, b):
    assert levenshtein(a, b) == levenshtein(b, a)
    assert (levenshtein(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))
    assert levenshtein("x" + a, "x" + b) == levenshtein(a, b)
