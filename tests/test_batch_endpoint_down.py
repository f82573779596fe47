"""A batch whose endpoint goes down and stays down gives up, and goes on once it is back."""

from __future__ import annotations

import pytest
from batches import ANSWER, agent, asked, lines, rows
from endpoints import Scripted, chat, failure

from agentic_vision.batch.run import run_batch
from agentic_vision.errors import MisconfiguredError, PolicyError


def test_it_gives_up_when_nothing_is_answered_any_more_and_goes_on_when_it_is(tmp_path):
    given, out = rows(tmp_path, 200), tmp_path / "out.jsonl"

    def until_the_fiftieth(request):
        return chat(ANSWER) if int(asked(request).split()[-1].rstrip("?")) < 50 else failure(503)

    with (
        Scripted([until_the_fiftieth]).serving() as url,
        pytest.raises(PolicyError, match="the last 32 questions"),
    ):
        run_batch(given, out, agent(url), concurrency=8)
    reasons = [line["stop_reason"] for line in lines(out)]
    assert reasons.count("answered") == 50
    assert 32 <= reasons.count("policy_failed") < 48  # it may have had eight more in flight
    with Scripted([chat(ANSWER)]).serving() as url:
        assert run_batch(given, out, agent(url), concurrency=8).stop_reasons == {"answered": 200}


def test_questions_that_fail_here_and_there_do_not_end_it(tmp_path):
    def every_third(request):
        return chat(ANSWER) if int(asked(request).split()[-1].rstrip("?")) % 3 else failure(503)

    with Scripted([every_third]).serving() as url:
        tally = run_batch(rows(tmp_path, 150), tmp_path / "out.jsonl", agent(url), concurrency=4)
    assert tally.stop_reasons == {"answered": 100, "policy_failed": 50}


def test_a_row_that_looks_like_a_wrong_setting_ends_nothing_once_others_were_answered(tmp_path):
    def odd_tenth(request):
        return failure(403, "not allowed") if asked(request).endswith(" 10?") else chat(ANSWER)

    given, out = rows(tmp_path, 40), tmp_path / "out.jsonl"
    with Scripted([odd_tenth]).serving() as url:
        tally = run_batch(given, out, agent(url), concurrency=2)
    assert tally.stop_reasons == {"answered": 39, "policy_failed": 1}
    (odd,) = (line for line in lines(out) if line["stop_reason"] == "policy_failed")
    assert odd["id"] == "row-10"
    assert "refuses the key" in odd["detail"]
    with Scripted([failure(403, "not allowed")]).serving() as url, pytest.raises(MisconfiguredError):
        run_batch(given, out, agent(url), concurrency=2)
