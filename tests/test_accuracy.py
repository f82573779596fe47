"""Is an answer right? What people and models really write, against what is on record."""

import numpy as np
import pytest
from groups import answers, score, totals

from agentic_vision import ConfigError
from agentic_vision.training import Anls, ExactMatch, MultipleChoice, NumericMatch


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


def test_anls():
    asked = answers("Main Street", "main streat", "man", "", reference=["main street", "elm street"])
    assert totals(Anls(), asked) == (1, 1 - 1 / 11, 0, 0)
    assert totals(Anls(), answers("", "ac", reference=["", "ab"])) == (1, 0)  # half alike is not above the threshold


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
