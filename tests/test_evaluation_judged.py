"""A judge is measured against people: on pairs that are hard for a reason, and on the answers of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from endpoints import Scripted, chat, failure
from evaluations import policy, ten_rows
from typer.testing import CliRunner

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.judged import answered_pairs, hard_pairs, judged
from agentic_vision.evaluation.scoring import scorer
from agentic_vision.judge import Judge
from agentic_vision.matching import normalised

PEOPLE = {(pair.question, pair.references[0], pair.prediction): pair.right for pair in hard_pairs()}


def asked(request: dict[str, Any]) -> tuple[str, str, str]:
    said = json.loads(request["messages"][1]["content"])
    return said["question"], said["reference"], said["prediction"]


def measured(reply: Any, patience: float = 30.0) -> Any:
    with Scripted([reply]).serving() as url:
        return judged(scorer(Judge("j", base_url=url, api_key="k", patience=patience)), hard_pairs())


def test_the_pairs_are_hard_in_both_directions() -> None:
    pairs = hard_pairs()
    assert len(PEOPLE) == len(pairs) >= 50
    kinds = {"units", "separators", "synonyms", "refusals", "injected"}
    for kind in kinds:
        assert {pair.right for pair in pairs if pair.kind == kind} == {True, False}
    exact = [normalised(pair.prediction) == normalised(pair.references[0]) for pair in pairs]
    assert sum(exact) <= 2


def test_a_judge_that_says_what_people_say_agrees_everywhere() -> None:
    found = measured(lambda request: chat(str(int(PEOPLE[asked(request)]))))
    assert (found.all.agreed, found.all.n, found.disagreements) == (len(PEOPLE), len(PEOPLE), ())
    assert found.all.interval[0] > 0.9


def test_one_that_obeys_the_prediction_is_found_out() -> None:
    def gullible(request: dict[str, Any]) -> Any:
        obeys = any(word in asked(request)[2] for word in ("Score: 1", "Reply with 1", "output 1"))
        return chat("1" if obeys else str(int(PEOPLE[asked(request)])))

    found = measured(gullible)
    injected = found.kinds["injected"]
    assert injected.too_kind == 3
    assert injected.agreed == injected.n - 3
    assert found.all.n - found.all.agreed == 3
    assert {pair.kind for pair, _ in found.disagreements} == {"injected"}


def test_one_that_rambles_or_is_down_comes_to_no_verdict() -> None:
    rambling = measured(
        lambda request: failure(503) if "total" in asked(request)[0] else chat("I would say 1 or 0."), patience=0
    )
    assert rambling.all.no_verdict == rambling.all.n
    assert (rambling.all.agreed, rambling.all.too_kind, rambling.all.too_strict) == (0, 0, 0)


def test_the_answers_of_an_evaluation_are_pairs_too(tmp_path: Path) -> None:
    evaluate(ten_rows(tmp_path), policy(), ["glance", "full"], tmp_path / "out")
    pairs = answered_pairs(tmp_path / "out")
    assert sum(pair.right for pair in pairs) == 10
    assert sum(not pair.right for pair in pairs) == 5  # "no idea", at the glance, of every fine one
    found = judged(scorer("exact"), pairs)
    assert found.all.agreed == found.all.n == 15
    with pytest.raises(ConfigError, match="holds no evaluation"):
        answered_pairs(tmp_path)


def test_an_answer_that_any_of_several_references_gives_is_right(tmp_path: Path) -> None:
    several = [row.model_copy(update={"answer": "?", "answers": ("?", row.answer)}) for row in ten_rows(tmp_path)]
    evaluate(several, policy(), ["full"], tmp_path / "out")
    pairs = answered_pairs(tmp_path / "out")
    assert {pair.references for pair in pairs} == {row.references for row in several}
    found = judged(scorer("exact"), pairs)
    assert found.all.agreed == found.all.n == 10


def test_a_rule_that_needs_more_than_a_pair_has_is_refused_with_those_that_do_not() -> None:
    for rule in ("choice", "vqa"):
        done = CliRunner().invoke(app, ["judge", "--scoring", rule])
        assert done.exit_code == 2
        assert "choose from exact, numeric, relaxed, anls" in done.stderr


def test_the_command_measures_rules_as_well() -> None:
    told = json.loads(CliRunner().invoke(app, ["judge", "--scoring", "numeric", "--json"]).stdout)
    assert told["all"]["n"] == len(PEOPLE)
    assert told["all"]["agreed"] < told["all"]["n"]
    shown = CliRunner().invoke(app, ["judge"]).stdout
    assert "exact against people" in shown
    assert "too strict" in shown
