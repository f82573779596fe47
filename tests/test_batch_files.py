"""The same questions by files of OpenAI's Batch API, a round a turn: what is asked, read in, and done once only.

Request files are answered by the real checkpoint, behind our own server, over HTTP.
"""

from __future__ import annotations

import json
import shutil
import urllib.request

import pytest
from batch_rounds import answer, filed, result, rounds, says
from batches import asked, lines, lines_to, rows
from endpoint_agent import RECEIPT
from endpoints import chat, serving
from openai.types.chat import CompletionCreateParams
from PIL import Image
from pydantic import ConfigDict, TypeAdapter
from scripted_agent import ANSWER, FULL, crop
from typer.testing import CliRunner

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.filed import FiledPolicy, NotYetError
from agentic_vision.batch.results import RequestFiles
from agentic_vision.batch.rounds import next_round
from agentic_vision.batch.run import run_batch
from agentic_vision.cli import app
from agentic_vision.errors import MisconfiguredError
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.server import ServerSettings, create_app

# Whole


def test_rounds_give_what_the_endpoint_gives_when_it_is_asked_at_once(tmp_path):
    questions = ["What is the total?", "What color is the logo?", "What is the number?", "What is the date?"]
    given = lines_to(
        tmp_path / "in.jsonl",
        [{"id": str(n), "image": str(RECEIPT), "question": question} for n, question in enumerate(questions)]
        + [{"id": "bad", "image": "nope.png", "question": "What?"}],
    )
    settings = {"image_quality": None}
    with serving(create_app(VisionAgent(EmbeddedPolicy.load()), ServerSettings(raw=True, model="embedded"))) as url:

        def posted(request):
            call = urllib.request.Request(
                url.removesuffix("/v1") + request["url"],
                json.dumps(request["body"]).encode(),
                {"Content-Type": "application/json"},
                method=request["method"],
            )
            with urllib.request.urlopen(call) as reply:
                return result(request, json.load(reply))

        at_once = VisionAgent(OpenAIPolicy("embedded", base_url=url, api_key="k", **settings))
        run_batch(given, tmp_path / "out.jsonl", at_once)
        agent = VisionAgent(FiledPolicy("embedded", **settings))
        count, tally = rounds(given, tmp_path / "rounds", agent, posted)
    assert count[0] == 4
    assert 1 <= count[1] < 4
    assert tally.stop_reasons["bad_row"] == 1
    by_id = {line["id"]: line for line in lines(tmp_path / "out.jsonl")}
    for line in lines(tmp_path / "rounds" / "answers.jsonl"):
        assert line == by_id.pop(line["id"])
    assert not by_id


def test_requests_are_what_the_api_says_they_are_and_grow(tmp_path):
    given = rows(tmp_path, 3)
    made = next_round(given, tmp_path / "rounds", filed())
    assert made.folder == tmp_path / "rounds" / "round-001"
    first = lines(made.files[0])
    assert len({request["custom_id"] for request in first}) == made.requests == 3
    for request in first:
        assert request.keys() == {"custom_id", "method", "url", "body"}
        assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
        assert len(request["custom_id"]) <= 64
        body = TypeAdapter(CompletionCreateParams, config=ConfigDict(extra="forbid")).validate_python(request["body"])
        assert body["model"] == "m"
    answer(made, lambda request: says(FULL if asked(request["body"])[-2] == "1" else ANSWER)(request))
    second = next_round(given, tmp_path / "rounds", filed())
    assert (second.requests, second.tally.done) == (1, 2)
    (request,) = lines(second.files[0])
    before = next(one for one in first if asked(one["body"])[-2] == "1")
    assert request["body"]["messages"][:2] == before["body"]["messages"]


def test_a_limit_asks_for_an_answer_in_a_round_of_its_own(tmp_path):
    given = rows(tmp_path, 2)

    def reply(request):
        told = request["body"]["messages"][-1]["content"]
        last = told if isinstance(told, str) else told[-1]["text"]
        return says(ANSWER if "no longer be called" in last else crop(0, 0, 500, 500), FULL)(request)

    def concluding(request):
        if "no longer be called" in json.dumps(request["body"]["messages"][-1]):
            return result(request, chat(ANSWER))
        return reply(request)

    count, tally = rounds(given, tmp_path / "rounds", filed(max_turns=2), concluding)
    assert count == [2, 2, 2]
    assert tally.stop_reasons == {"turn_limit": 2}
    assert {line["answer"] for line in lines(tmp_path / "rounds" / "answers.jsonl")} == {"417"}


# Exactly once


def test_a_round_waits_for_all_of_its_results(tmp_path):
    given, folder = rows(tmp_path, 4), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    answer(made, lambda request: None if asked(request["body"])[-2] in "02" else says(ANSWER)(request))
    waiting = next_round(given, folder, filed())
    assert (waiting.folder, waiting.requests, waiting.missing) == (made.folder, 4, 2)
    rest = [says(ANSWER)(r) for r in lines(made.files[0])]  # those that were there come again: they count once
    lines_to(made.folder / "more.jsonl", rest)
    done = next_round(given, folder, filed())
    assert (done.requests, done.tally.stop_reasons) == (0, {"answered": 4})
    assert len(lines(folder / "answers.jsonl")) == 4


def test_killed_while_it_writes_a_round_it_writes_it_again(tmp_path):
    given, folder = rows(tmp_path, 6), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    answer(made, lambda request: says(FULL if asked(request["body"])[-2] in "024" else ANSWER)(request))
    second = next_round(given, folder, filed())
    wanted = {request["custom_id"] for request in lines(second.files[0])}
    # As a kill leaves it: some answers are there, one in half, and the round is not whole yet.
    shutil.move(second.folder, folder / "next.part")
    whole = (folder / "answers.jsonl").read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        (folder / "answers.jsonl").write_bytes(whole[:cut])
        again = next_round(given, folder, filed())
        assert {request["custom_id"] for request in lines(again.files[0])} == wanted
        assert sorted(line["id"] for line in lines(folder / "answers.jsonl")) == ["row-1", "row-3", "row-5"]
        shutil.rmtree(again.folder)


def test_rows_that_ask_the_same_are_asked_each(tmp_path):
    given = rows(tmp_path, 1)
    given.write_text(given.read_text() + given.read_text().replace("row-0", "row-1"))
    made = next_round(given, tmp_path / "rounds", filed())
    assert made.requests == len({request["custom_id"] for request in lines(made.files[0])}) == 2


def test_what_a_changed_image_would_answer_is_asked_anew(tmp_path):
    given, folder = rows(tmp_path, 1), tmp_path / "rounds"
    answer(next_round(given, folder, filed()), says(FULL))
    Image.new("RGB", (512, 512), "black").save(tmp_path / "picture.png")
    made = next_round(given, folder, filed())
    (request,) = lines(made.files[0])
    assert [message["role"] for message in request["body"]["messages"]] == ["system", "user"]


# What goes wrong


def test_requests_that_expired_are_asked_again_and_no_more_than_three_times(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"

    def expiring(request):
        if asked(request["body"])[-2] == "0":
            return result(request, chat(ANSWER))
        error = {"code": "batch_expired", "message": "This request could not be executed before it expired."}
        return {"id": "b", "custom_id": request["custom_id"], "response": None, "error": error}

    count, tally = rounds(given, folder, filed(), expiring)
    assert count == [2, 1, 1]
    assert tally.stop_reasons == {"answered": 1, "policy_failed": 1}
    assert next_round(given, folder, filed()).tally.stop_reasons == tally.stop_reasons
    assert len(lines(folder / "answers.jsonl")) == 2


@pytest.mark.parametrize(
    ("status", "body", "stop"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "maximum context length"}}, "context_full"),
        (400, {"error": {"code": "content_filter", "message": "no"}}, "refused"),
        (422, {"error": {"message": "what is this"}}, "policy_failed"),
        (200, {"hello": "world"}, "policy_failed"),
        (200, None, "policy_failed"),
    ],
)
def test_an_error_of_one_request_is_the_typed_outcome_of_its_row(tmp_path, status, body, stop):
    count, tally = rounds(
        rows(tmp_path, 1), tmp_path / "rounds", filed(), lambda request: result(request, body, status)
    )
    assert (count, tally.stop_reasons) == ([1], {stop: 1})


def test_an_unknown_model_stops_the_rounds(tmp_path):
    given, folder = rows(tmp_path, 2), tmp_path / "rounds"
    answer(next_round(given, folder, filed()), lambda request: result(request, {"error": {"message": "no"}}, 404))
    with pytest.raises(MisconfiguredError, match=r"no such model .* round-001 answered anew|no such model"):
        next_round(given, folder, filed())
    assert lines(folder / "answers.jsonl") == []


def test_files_that_are_no_results_are_refused(tmp_path):
    given, folder = rows(tmp_path, 1), tmp_path / "rounds"
    made = next_round(given, folder, filed())
    (made.folder / "output.jsonl").write_text('{"custom_id": "x"')
    with pytest.raises(ConfigError, match="fetch the file again"):
        next_round(given, folder, filed())
    with pytest.raises(ConfigError, match="FiledPolicy"):
        next_round(given, folder, VisionAgent(EmbeddedPolicy.load()))
    with pytest.raises(ConfigError, match="max_turns=4, now 3"):
        next_round(given, folder, filed(max_turns=3))
    with pytest.raises(NotYetError):
        filed().ask(tmp_path / "picture.png", "What?")


def test_bodies_of_requests_are_not_read_again(tmp_path, monkeypatch):
    given = rows(tmp_path, 2)
    made = next_round(given, tmp_path / "rounds", filed())
    requests = lines(made.files[0])
    loads, read = json.loads, []
    monkeypatch.setattr(json, "loads", lambda text, **more: read.append(len(text)) or loads(text, **more))
    assert next_round(given, tmp_path / "rounds", filed()).missing == 2
    assert max(read) < min(len(json.dumps(request)) for request in requests)
    made.files[0].write_text("".join(json.dumps(one, separators=(",", ":")) + "\n\n" for one in requests))  # as jq does
    assert next_round(given, tmp_path / "rounds", filed()).missing == 2
    made.files[0].write_text("{}\n")
    with pytest.raises(ConfigError, match=r"requests-001\.jsonl, line 1, is no request of ours"):
        next_round(given, tmp_path / "rounds", filed())


def test_files_stay_within_the_apis_limits(tmp_path):
    files = RequestFiles(tmp_path, most_requests=3, most_bytes=1000)
    for number in range(8):
        assert files.write(str(number), {"text": "." * (10 if number < 5 else 500)})
    assert not files.write("huge", {"text": "." * 1000})
    files.close()
    written = sorted(tmp_path.glob("*.jsonl"))
    assert [[line["custom_id"] for line in lines(path)] for path in written] == [
        ["0", "1", "2"],
        ["3", "4", "5"],
        ["6"],
        ["7"],
    ]
    assert all(path.stat().st_size <= 1000 for path in written)
    assert files.requests == 8


def test_the_command_goes_from_round_to_round(tmp_path):
    def run():
        command = ["batch-files", str(rows(tmp_path, 2)), "--out", str(tmp_path / "rounds"), "--policy", "qwen3-vl-8b"]
        return CliRunner().invoke(app, [*command, "--json"])

    def files():
        return [tmp_path / "rounds" / "round-001" / "requests-001.jsonl"]

    first = json.loads(run().stdout)
    assert (first["round"], first["requests"], first["files"]) == ("round-001", 2, [str(path) for path in files()])
    waiting = run()
    assert (waiting.exit_code, json.loads(waiting.stdout)["missing"]) == (1, 2)
    lines_to(files()[0].with_name("output.jsonl"), [result(request, chat(ANSWER)) for request in lines(files()[0])])
    last = run()
    told = json.loads(last.stdout)
    assert (last.exit_code, told["round"], told["requests"], told["done"]) == (0, None, 0, 2)
