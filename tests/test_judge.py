"""The judge, against a real HTTP endpoint on this machine: asked once, asked again, cached, and never guessing."""

import asyncio
import json
import pickle

import pytest
from groups import answers
from judge_endpoint import ASKED, Endpoint, ask, serving

from agentic_vision import ConfigError
from agentic_vision.judge import ASKS, Judge
from agentic_vision.training import CallRatioPenalty, JudgeReward


def test_a_verdict_and_what_was_asked():
    endpoint = Endpoint("1")
    [verdict] = ask(endpoint, request={"temperature": 0, "seed": 3})
    assert (verdict.correct, verdict.reply, verdict.cached) == (True, "1", False)
    [request] = endpoint.requests
    assert (request["model"], request["temperature"], request["seed"]) == ("judge", 0, 3)
    question = json.loads(request["messages"][1]["content"])
    assert question == {"question": "Which number?", "reference": "417", "prediction": "It is 417"}


def test_a_rambling_judge_is_asked_again():
    endpoint = Endpoint("Well, they look alike to me.", "0")
    assert ask(endpoint)[0].correct is False
    again = endpoint.requests[1]["messages"]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]


def test_one_that_never_comes_to_the_point_gives_no_verdict():
    endpoint = Endpoint("Well.")
    [verdict] = ask(endpoint)
    assert verdict.correct is None
    assert str(ASKS) in verdict.reason
    assert len(endpoint.requests) == ASKS


def test_equal_questions_in_flight_are_asked_once():
    endpoint = Endpoint("1", seconds=0.05)
    assert [verdict.correct for verdict in ask(endpoint, together=20)] == [True] * 20
    assert len(endpoint.requests) == 1


def test_what_nobody_waits_for_any_more_is_not_asked():
    endpoint = Endpoint("1", seconds=0.05)

    async def give_up(url):
        async with Judge("judge", base_url=url, api_key="none", concurrency=1) as judge:
            asked = [asyncio.create_task(judge.verdict("Which?", "417", str(n))) for n in range(9)]
            await asyncio.sleep(0.02)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.sleep(0.1)

    with serving(endpoint) as url:
        asyncio.run(give_up(url))
    assert len(endpoint.requests) <= 1


def test_one_who_gives_up_does_not_end_it_for_the_others():
    endpoint = Endpoint("1", seconds=0.05)

    async def two(url):
        async with Judge("judge", base_url=url, api_key="none") as judge:
            first = asyncio.create_task(judge.verdict(*ASKED))
            second = asyncio.create_task(judge.verdict(*ASKED))
            await asyncio.sleep(0.01)
            first.cancel()
            return await second

    with serving(endpoint) as url:
        assert asyncio.run(two(url)).correct
    assert len(endpoint.requests) == 1


def test_who_asks_what_is_just_being_given_up_is_answered():
    endpoint = Endpoint("1", seconds=0.05)

    async def two(url):
        async with Judge("judge", base_url=url, api_key="none") as judge:
            first = asyncio.create_task(judge.verdict(*ASKED))
            await asyncio.sleep(0.02)
            first.cancel()
            return await judge.verdict(*ASKED)

    with serving(endpoint) as url:
        assert asyncio.run(two(url)).correct


def test_no_more_requests_at_once_than_allowed():
    endpoint = Endpoint("1", seconds=0.03)
    asked = [("Which number?", "417", str(n)) for n in range(9)]
    assert all(verdict.correct for verdict in ask(endpoint, *asked, concurrency=3))
    assert (len(endpoint.requests), endpoint.most) == (9, 3)


def test_an_endpoint_that_is_down_for_a_while_is_asked_again():
    endpoint = Endpoint(503, 429, 500, "1")
    assert ask(endpoint)[0].correct
    assert len(endpoint.requests) == 4


def test_an_endpoint_that_stays_down_gives_no_verdict():
    assert "is down" in ask(Endpoint(503), patience=0.1)[0].reason

    async def nobody_there():
        return await Judge("judge", base_url="http://127.0.0.1:9/v1", api_key="none", patience=0.1).verdict(*ASKED)

    verdict = asyncio.run(nobody_there())
    assert verdict.correct is None
    assert "could not be reached" in verdict.reason


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_turns_us_away_is_a_wrong_setting(status):
    endpoint = Endpoint(status)
    with pytest.raises(ConfigError, match="check model"):
        ask(endpoint)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_question_that_is_refused_costs_its_own_verdict_only(status):
    endpoint = Endpoint(status, "1")
    first, second = ask(endpoint, ASKED, ("Which number?", "417", "417"), concurrency=1)
    assert (first.correct, second.correct) == (None, True)
    assert "refuses this question" in first.reason


@pytest.mark.parametrize(
    "raw", [b"<html>Welcome</html>", b"{", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"null"]
)
def test_what_is_no_completion_is_no_verdict(raw):
    [verdict] = ask(Endpoint(raw), patience=0.1)
    assert verdict.correct is None
    assert "judge" in verdict.reason


def test_a_verdict_that_a_length_limit_cut_short_does_not_count():
    endpoint = Endpoint({"content": "1", "finish_reason": "length"}, "0")
    assert ask(endpoint)[0].correct is False


def test_half_a_surrogate_pair_breaks_nothing(tmp_path):
    endpoint = Endpoint("\ud800", "1")
    asked = ("Which \ud800?", "417", "\udfff")
    assert ask(endpoint, asked, cache=tmp_path / "verdicts.sqlite")[0].correct


def test_the_judge_reads_any_script_as_it_is_written_and_every_reference_once():
    endpoint = Endpoint("1")
    ask(endpoint, ("Was kostet es?", ["12 €", "zwölf Euro"], "十二欧元"))
    content = endpoint.requests[0]["messages"][1]["content"]
    assert '["12 €", "zwölf Euro"]' in content
    assert "十二欧元" in content


def test_without_a_key_it_says_so(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        asyncio.run(Judge("judge").verdict(*ASKED))


@pytest.mark.parametrize("wrong", [{"model": ""}, {"concurrency": 0}, {"timeout": 0}])
def test_impossible_settings(wrong):
    with pytest.raises(ConfigError):
        Judge(**{"model": "judge", **wrong})


def test_it_goes_to_other_processes_and_serves_several_event_loops(tmp_path):
    endpoint = Endpoint("1")
    with serving(endpoint) as url:
        judge = Judge("judge", base_url=url, api_key="none", cache=tmp_path / "verdicts.sqlite")
        assert asyncio.run(judge.verdict(*ASKED)).correct
        copy = pickle.loads(pickle.dumps(judge))
        assert asyncio.run(copy.verdict(*ASKED)).cached
        assert asyncio.run(judge.verdict("Which number?", "417", "7")).correct


def test_as_a_reward():
    endpoint = Endpoint("1", "0", "1", "Well.")

    async def scores(url):
        async with Judge("judge", base_url=url, api_key="none", concurrency=1) as judge:
            accuracy = JudgeReward(judge)
            reward = accuracy - CallRatioPenalty(correct=accuracy)
            return await reward.score(answers("417", "418", "It is 417", None, "?"))

    with serving(endpoint) as url:
        scored = asyncio.run(scores(url))
    assert scored.parts["accuracy"] == (1, 0, 1, 0, None)
    assert scored.valid == (True, True, True, True, False)
    assert "1 or 0" in scored.failures["accuracy"]
    assert len(endpoint.requests) == 3 + ASKS


def test_the_recipes_judge_is_asked_once_for_all_runs_of_a_user(tmp_path, monkeypatch):
    from agentic_vision.training.recipes import rewards

    endpoint = Endpoint("1")
    with serving(endpoint) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        for _ in ("one run", "the next"):
            rewards._judge.cache_clear()
            scores = asyncio.run(rewards.vision_think(weight=0, judge="judge").score(answers("It is 417")))
            assert list(scores.totals) == [1.5]  # half of it the format
        rewards._judge.cache_clear()
    assert len(endpoint.requests) == 1
    assert (tmp_path / "agentic_vision" / "verdicts.sqlite").is_file()
