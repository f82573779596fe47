"""Many questions from a file into a file: what comes out, errors that stop it, and the command.

Against real HTTP endpoints with the real client.
"""

from __future__ import annotations

import errno
import json

import pytest
from batches import CAN, agent, ids, lines, rows
from endpoints import Scripted, chat, failure
from scripted_agent import ANSWER, FULL
from typer.testing import CliRunner

from agentic_vision import VisionAgent
from agentic_vision.batch.answers import Answers
from agentic_vision.batch.run import run_batch
from agentic_vision.cli import app
from agentic_vision.errors import MisconfiguredError
from agentic_vision.policies.scripted import ScriptedPolicy

LINE = {"id", "answer", "stop_reason", "detail", "usage", "tool_calls", "row"}


# What comes out


def test_every_row_has_its_line_with_what_it_cost(tmp_path):
    endpoint = Scripted([lambda request: chat(FULL if len(request["messages"]) == 2 else ANSWER)])
    out = tmp_path / "new" / "out.jsonl"
    with endpoint.serving() as url:
        tally = run_batch(rows(tmp_path / "in", 12), out, agent(url), concurrency=5)
    assert ids(out) == sorted(f"row-{number}" for number in range(12))
    for line in lines(out):
        assert line.keys() == LINE
        assert (line["answer"], line["stop_reason"], line["detail"]) == ("417", "answered", None)
        assert line["tool_calls"] == [{"name": "full_res", "arguments": {}, "ok": True, "error": None}]
        assert (line["usage"]["requests"], line["usage"]["output_tokens"]) == (2, 14)
    assert (tally.rows, tally.done, tally.asked, tally.tool_calls, tally.requests) == (12, 12, 12, 12, 24)
    assert tally.visual_tokens == sum(line["usage"]["visual_tokens"] for line in lines(out))


def test_bad_rows_are_outcomes_and_the_others_are_answered(tmp_path):
    given = rows(tmp_path, 1)
    (tmp_path / "broken.png").write_bytes((tmp_path / "picture.png").read_bytes()[:60])
    bad = [
        {"id": "missing", "image": "nope.png", "question": "What?"},
        {"id": "broken", "image": "broken.png", "question": "What?"},
        {"id": "no question", "image": "picture.png"},
        {"id": "blank", "image": "picture.png", "question": " "},
        {"id": "no image", "question": "What?"},
        {"id": "number", "image": 3, "question": "What?"},
        {"id": "url", "image": "https://example.org/a.png", "question": "What?"},
        {"id": "half \ud83d", "image": "\ud83d.png", "question": "What?"},
        ["no", "row"],
    ]
    with given.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in bad) + '{"id": "torn", "ima\n\xff\n')
    out = tmp_path / "out.jsonl"
    with Scripted([chat(ANSWER)]).serving() as url:
        tally = run_batch(given, out, agent(url))
        assert tally.stop_reasons == {"answered": 1, "bad_row": 11}
        assert all(line["detail"] for line in lines(out) if line["stop_reason"] == "bad_row")
        mended = given.read_text().replace("nope.png", "picture.png")
        given.write_text(mended)
        tally = run_batch(given, out, agent(url))
    assert tally.stop_reasons == {"answered": 2, "bad_row": 10}
    assert len(set(ids(out))) == len(ids(out)) == 12


def test_an_error_of_a_policy_or_tool_of_others_is_an_outcome(tmp_path):
    def fails(_):
        raise ZeroDivisionError("oh dear")

    run_batch(rows(tmp_path, 1), tmp_path / "out.jsonl", VisionAgent(ScriptedPolicy(fails)))
    (line,) = lines(tmp_path / "out.jsonl")
    assert (line["stop_reason"], line["detail"]) == ("policy_failed", "ZeroDivisionError: oh dear")


# Errors that stop it


def test_a_key_that_ends_on_the_way_stops_the_run_and_the_unfinished_are_asked_by_the_next(tmp_path, monkeypatch):
    given, out = rows(tmp_path, 50), tmp_path / "out.jsonl"
    endpoint = Scripted([*[chat(ANSWER)] * 10, failure(401, "no such key")])
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with endpoint.serving() as url:
        command = ["batch", str(given), "--out", str(out), "--policy", "qwen3-vl-8b", "--base-url", url]
        result = CliRunner().invoke(app, [*command, "--concurrency", "4"])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "the endpoint refuses the key" in result.stderr
    assert len(endpoint.requests) < 20
    reasons = [line["stop_reason"] for line in lines(out)]
    assert 6 < reasons.count("answered") <= 10  # some may have been on their way when it ended
    # Three in a row are let pass, and an answer that comes late begins a new row.
    assert reasons.count("policy_failed") == len(reasons) - reasons.count("answered") < 10
    with Scripted([chat(ANSWER)]).serving() as url:
        result = CliRunner().invoke(app, [*command[:-1], url, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stop_reasons"] == {"answered": 50}
    assert len(set(ids(out))) == len(ids(out)) == 50


def test_an_unknown_model_stops_the_run(tmp_path):
    with (
        Scripted([failure(404, "no such model")]).serving() as url,
        pytest.raises(MisconfiguredError, match="knows no such model"),
    ):
        run_batch(rows(tmp_path, 50), tmp_path / "out.jsonl", agent(url))
    assert lines(tmp_path / "out.jsonl") == []


def test_a_disk_that_is_full_ends_the_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Answers, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run_batch(rows(tmp_path, 2), tmp_path / "out.jsonl", CAN)


# The command


def test_the_command_is_for_people_and_for_programs(tmp_path, monkeypatch):
    from agentic_vision.policies.embedded import EmbeddedPolicy

    monkeypatch.setattr(EmbeddedPolicy, "load", lambda: ScriptedPolicy([ANSWER], family="pocket"))
    given, out = rows(tmp_path, 3), tmp_path / "out.jsonl"
    result = CliRunner().invoke(app, ["batch", str(given), "--out", str(out)])
    assert result.exit_code == 0
    assert "3 of 3 rows" in result.stdout
    assert "75% saved" in result.stdout
    assert result.stderr == ""
    told = json.loads(CliRunner().invoke(app, ["batch", str(given), "--out", str(out), "--json"]).stdout)
    assert (told["rows"], told["done"], told["asked"], told["gone"]) == (3, 3, 0, 0)
    assert told["usage"]["cost"] is None
    wrong = CliRunner().invoke(app, ["batch", str(tmp_path / "nope.jsonl"), "--out", str(out)])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "there is no file" in wrong.stderr


def test_rows_that_failed_are_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with Scripted([failure(422)]).serving() as url:
        command = ["batch", str(rows(tmp_path, 2)), "--out", str(tmp_path / "out.jsonl"), "--policy", "qwen3-vl-8b"]
        result = CliRunner().invoke(app, [*command, "--base-url", url])
    assert result.exit_code == 1
    assert "the same command asks them again" in result.stdout
