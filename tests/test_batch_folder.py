"""What lies in the folder of a batch's rounds: several results of one request, results by any name, other things."""

from __future__ import annotations

import os
import shutil

import pytest
from batch_rounds import answer, filed, result, says
from batches import lines, lines_to, rows
from endpoint_agent import TEXT
from endpoints import chat
from scripted_agent import ANSWER, FULL
from typer.testing import CliRunner

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.filed import FiledPolicy
from agentic_vision.batch.rounds import next_round
from agentic_vision.cli import app
from agentic_vision.protocol import write

BAD = {"error": {"message": "what is this"}}


def put(path, results, age=0):
    """A file of results that came `age` seconds ago."""
    lines_to(path, results)
    os.utime(path, (1e9 - age, 1e9 - age))


def all_answers(folder):
    return {line["answer"] for line in lines(folder / "answers.jsonl")}


@pytest.mark.parametrize("error", ["a-errors.jsonl", "z-errors.jsonl"])
@pytest.mark.parametrize("age", [1, -1])
def test_a_success_counts_whatever_errors_lie_beside_it(tmp_path, error, age):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    requests = lines(made.files[0])
    put(made.folder / error, [result(request, BAD, 400) for request in requests], age)
    put(made.folder / "output.jsonl", [says(ANSWER)(request) for request in requests])
    assert next_round(given, folder, filed()).tally.stop_reasons == {"answered": 2}


def test_of_several_successes_or_errors_the_newest_counts(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    first, second = lines(made.files[0])
    put(made.folder / "a.jsonl", [result(first, chat(write(answer="new"))), result(second, BAD, 503)])
    put(made.folder / "b.jsonl", [result(first, chat(write(answer="old"))), result(second, BAD, 400)], age=1)
    again = next_round(given, folder, filed())
    assert again.requests == 1  # the newest error is one that passes
    assert all_answers(folder) == {"new"}


def test_results_may_be_named_after_their_requests(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    results = [says(ANSWER)(request) for request in lines(made.files[0])]
    lines_to(made.folder / "requests-001-output.jsonl", results)
    done = next_round(given, folder, filed())
    assert (done.missing, done.tally.stop_reasons) == (0, {"answered": 2})


def test_what_else_lies_beside_the_rounds_is_no_round(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    shutil.make_archive(str(made.folder), "zip", made.folder)
    (folder / "round-001-copy").mkdir()
    waiting = next_round(given, folder, filed())
    assert (waiting.folder, waiting.missing) == (made.folder, 2)
    answer(made, says(FULL))
    second = next_round(given, folder, filed())
    assert second.folder == folder / "round-002"


def test_the_command_says_how_failed_rows_are_asked_again(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    command = ["batch-files", str(given), "--out", str(folder), "--policy", "qwen3-vl-8b"]
    assert CliRunner().invoke(app, command).exit_code == 0
    path = folder / "round-001" / "requests-001.jsonl"
    first, second = lines(path)
    lines_to(path.with_name("output.jsonl"), [says(ANSWER)(first), result(second, BAD, 400)])
    for _ in range(2):
        failed = CliRunner().invoke(app, command)
        assert failed.exit_code == 1
        assert "1 rows failed" in failed.stdout
        assert "the same command asks" not in failed.stdout
        assert "put the new results beside the old" in failed.stdout
    lines_to(path.with_name("anew.jsonl"), [says(ANSWER)(second)])
    assert CliRunner().invoke(app, command).exit_code == 0
    assert all_answers(folder) == {"417"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0.7}, "temperature=None, now 0.7"),
        ({"max_new_tokens": 9}, "max_new_tokens=None, now 9"),
        ({"request": {"top_p": 0.5}}, r"request=\{\}, now \{'top_p': 0.5\}"),
        ({"profile": {**TEXT, "family": "qwen2.5-vl"}}, "family=.*now"),
        ({"profile": {**TEXT, "calls": "native"}}, "calls='text', now 'native'"),
    ],
)
def test_rounds_do_not_go_on_with_a_policy_of_other_settings(tmp_path, options, said):
    given, folder = rows(tmp_path, 1), tmp_path / "rounds"
    next_round(given, folder, VisionAgent(FiledPolicy("m", profile=TEXT)))
    with pytest.raises(ConfigError, match=said):
        next_round(given, folder, VisionAgent(FiledPolicy("m", **{"profile": TEXT, **options})))
    assert next_round(given, folder, VisionAgent(FiledPolicy("m", profile=TEXT))).missing == 1


@pytest.mark.parametrize(
    ("profile", "cost"),
    [
        ({**TEXT, "price": {"input": 4, "cached": 2, "output": 8, "as_of": "2025-01-01"}}, 100 * 8 / 1e6),
        (TEXT, 100 * 0.4 / 2 / 1e6),
    ],
)
def test_a_batch_costs_half_unless_it_is_said_what_it_costs(tmp_path, profile, cost):
    given, folder = rows(tmp_path, 1), tmp_path / "rounds"
    agent = VisionAgent(FiledPolicy("gpt-4.1-nano", profile=profile))
    said = chat(ANSWER)
    said["usage"]["completion_tokens"] = 100
    answer(next_round(given, folder, agent), lambda request: result(request, said))
    assert next_round(given, folder, agent).tally.cost == pytest.approx(cost)
