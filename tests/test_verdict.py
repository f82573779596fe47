"""A judge's reply is 1, 0, or no verdict at all: what is not clearly one of the two is neither."""

import pytest

from agentic_vision.verdict import read_verdict


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("1", True),
        ("0", False),
        (" **1**.\n", True),
        ("Score: 1", True),
        ("Score: 0 on a scale from 0 to 10", False),
        ("Score: 0 ... 10", False),
        ("score = 1/1", True),
        ("<think>It could be 0, or 1.</think>\n1", True),
        ("The numbers differ.\nJudgement: **0**", None),
        ("Score: 10", None),
        ("Score: 1 out of 10", None),
        ("Score: 0.5", None),
        ("Score: 1, or maybe Score: 0", None),
        ("I think that it is right.", None),
        ("1 0", None),
        ("There is 1 number", None),
        ("Score: 0 (out of 10)", False),
        ('{"score": 1}', True),
        ("**Score: 1**", True),
        ("Score: 1 on a scale from 0 to 10", None),
        ("Score: **1**/10", None),
        ("Verdict: 0 or 1", None),
        ("Score: 1\n\nActually 0", None),
        ("Verdict:\n1. It says 12.\n2. So it is wrong.", None),
        ("The score is 1 if the prediction is right, 0 otherwise.", None),
        ("<think>The form is Score: 1", None),
        (".1", None),
        ("-1", None),
        ("", None),
        ("1" * 1000, None),
        ("Score: 0" + " 100" * 10_000 + "x", None),
    ],
)
def test_a_reply_is_read_strictly(reply, verdict):
    assert read_verdict(reply) is verdict
