"""Many questions from a file into a file: each once, whatever happens, and as fast as the endpoint allows.

Against real HTTP endpoints with the real client, and where it is killed, in a real process.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from batches import ANSWER, agent, asked, lines, lines_to, rows
from endpoints import Scripted, chat, failure
from scripted_agent import FULL
from typer.testing import CliRunner

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.answers import Answers
from agentic_vision.batch.pace import Pace
from agentic_vision.batch.rows import Rows
from agentic_vision.batch.run import arun_batch, run_batch
from agentic_vision.cli import app
from agentic_vision.errors import MisconfiguredError
from agentic_vision.policies.scripted import ScriptedPolicy

CAN = VisionAgent(ScriptedPolicy([ANSWER]))
LINE = {"id", "answer", "stop_reason", "detail", "usage", "tool_calls", "row"}


def ids(path):
    return sorted(line["id"] for line in lines(path))


# Rows


def test_rows_are_jsonl_with_paths_relative_to_it(tmp_path):
    path = lines_to(
        tmp_path / "in.jsonl",
        [
            {"id": 7, "images": ["a.png", "/b.png"], "question": "Which?"},
            {"image": "sub/c.png", "question": "What?"},
            {"image": "sub/c.png", "question": "What?"},
        ],
    )
    first, second, third = Rows(path)
    assert (first.id, first.images, first.question) == ("7", (str(tmp_path / "a.png"), "/b.png"), "Which?")
    assert second.images == (str(tmp_path / "sub/c.png"),)
    assert second.id != third.id
    assert [row.id for row in Rows(path)] == [first.id, second.id, third.id]


def test_rows_are_parquet_with_paths_or_bytes(tmp_path, picture):
    picture.save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    held = [{"bytes": data, "path": None}, {"bytes": None, "path": "a.jpg"}]
    pyarrow.parquet.write_table(
        pyarrow.table({"id": ["x", "y"], "image": held, "question": ["What?", "Which?"]}), tmp_path / "in.parquet"
    )
    first, second = Rows(tmp_path / "in.parquet")
    assert (first.images, second.images) == ((data,), (str(tmp_path / "a.jpg"),))
    run_batch(tmp_path / "in.parquet", tmp_path / "out.jsonl", CAN)
    assert {line["id"]: line["answer"] for line in lines(tmp_path / "out.jsonl")} == {"x": "417", "y": "417"}


def test_a_folder_of_images_is_asked_one_question(tmp_path, picture):
    (tmp_path / "in" / "more").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "more/c.webp"):
        picture.resize((64, 64)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    run_batch(tmp_path / "in", tmp_path / "out.jsonl", CAN, question="What is it?")
    assert ids(tmp_path / "out.jsonl") == ["a.JPG", "b.png", "more/c.webp"]
    picture.resize((64, 64)).save(tmp_path / "in" / "aa.png")  # more may come
    tally = run_batch(tmp_path / "in", tmp_path / "out.jsonl", CAN, question="What is it?")
    assert (tally.asked, tally.done, tally.gone) == (1, 4, 0)


@pytest.mark.parametrize(
    ("name", "text", "question", "said"),
    [
        ("in.jsonl", "", None, "holds no rows"),
        ("in.jsonl", "a,b\n1,2\n", None, "give JSONL, parquet"),
        ("in.parquet", "PAR1", None, "as parquet"),
        ("in.jsonl", "{}\n", "What?", "no folder of images"),
        ("folder/a.txt", "", None, "--question"),
        ("folder/a.txt", "", "What?", "holds no images"),
        ("folder/a.png", "", " ", "question is empty"),
    ],
)
def test_what_holds_no_rows_is_refused_with_the_mend(tmp_path, name, text, question, said):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    given = path.parent if name.startswith("folder") else path
    with pytest.raises(ConfigError, match=said):
        run_batch(given, tmp_path / "out.jsonl", CAN, question=question)


def test_rows_are_not_read_ahead_of_those_in_flight(tmp_path, monkeypatch):
    given, ahead, replied = rows(tmp_path, 60), [], 0
    read = Rows.__iter__
    passes = []

    def counted(self):
        passes.append(self)
        for number, row in enumerate(read(self)):
            if len(passes) == 2:  # the first one checks them all, and keeps none
                ahead.append(number - replied)
            yield row

    def reply(_):
        nonlocal replied
        replied += 1
        return ANSWER

    monkeypatch.setattr(Rows, "__iter__", counted)
    run_batch(given, tmp_path / "out.jsonl", VisionAgent(ScriptedPolicy(reply)), concurrency=4)
    assert replied == 60
    assert max(ahead) <= 4


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


# Exactly once


def test_what_failed_for_reasons_that_pass_is_asked_again_by_the_next_run(tmp_path):
    given, out = rows(tmp_path, 8), tmp_path / "out.jsonl"
    down = Scripted([lambda request: failure(500) if asked(request)[-2] in "13" else chat(ANSWER)])
    with down.serving() as url:
        tally = run_batch(given, out, agent(url))
    assert tally.stop_reasons == {"answered": 6, "policy_failed": 2}
    assert len(ids(out)) == 8
    up = Scripted([chat(ANSWER)])
    with up.serving() as url:
        tally = run_batch(given, out, agent(url))
        assert run_batch(given, out, agent(url)).asked == 0
    assert (tally.asked, tally.failed, tally.stop_reasons) == (2, 0, {"answered": 8})
    assert sorted(map(asked, up.requests)) == ["What is number 1?", "What is number 3?"]
    assert ids(out) == sorted(f"row-{number}" for number in range(8))


def test_a_last_line_that_was_cut_short_anywhere_is_asked_again(tmp_path):
    given, out = rows(tmp_path, 3), tmp_path / "out.jsonl"
    run_batch(given, out, CAN)
    whole = out.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in random.Random(0).sample(range(last + 1, len(whole)), 8):
        out.write_bytes(whole[:cut])
        assert run_batch(given, out, CAN).asked == 1
        assert len(set(ids(out))) == len(ids(out)) == 3


def test_killed_at_random_places_it_goes_on_and_every_row_is_there_once(tmp_path):
    given, out = rows(tmp_path, 60), tmp_path / "out.jsonl"
    chance = random.Random(1)

    async def slow(_):
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        return chat(ANSWER)

    endpoint = Scripted([slow])
    kills = 3
    with endpoint.serving() as url:
        for _ in range(kills):
            process = started(given, out, url)
            before = size(out)
            while process.poll() is None and size(out) == before:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.4))
            process.kill()
            process.communicate()
        assert 0 < out.read_bytes().count(b"\n") < 60
        process = started(given, out, url)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
    assert ids(out) == sorted(f"row-{number}" for number in range(60))
    assert len(endpoint.requests) <= 60 + 8 * kills  # what was in flight, and no more
    assert json.loads(said)["stop_reasons"] == {"answered": 60}


def test_ctrl_c_ends_it_and_keeps_what_is_done(tmp_path):
    given, out = rows(tmp_path, 400), tmp_path / "out.jsonl"

    async def slow(_):
        await asyncio.sleep(0.2)
        return chat(ANSWER)

    with Scripted([slow]).serving() as url:
        process = started(given, out, url)
        while not size(out):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130  # as a shell has it for Ctrl-C
    assert "keeps what is done" in said
    assert "Traceback" not in said
    assert 0 < len(lines(out)) < 400


def started(given, out, url):
    command = [
        sys.executable,
        "-m",
        "agentic_vision",
        "batch",
        given,
        "--out",
        out,
        "--policy",
        "m",
        "--concurrency",
        8,
    ]
    env = {**os.environ, "OPENAI_API_KEY": "k", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [*map(str, command), "--base-url", url, "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_file_is_not_continued_with_other_rows_settings_or_files(tmp_path):
    given, out = rows(tmp_path, 3), tmp_path / "out.jsonl"
    run_batch(given, out, CAN)
    with pytest.raises(ConfigError, match="max_turns=4, now 2"):
        run_batch(given, out, VisionAgent(ScriptedPolicy([ANSWER]), max_turns=2))
    with pytest.raises(ConfigError, match="policy='ScriptedPolicy', now 'other'"):
        run_batch(given, out, CAN, policy="other")
    with pytest.raises(ConfigError, match="another question or image under the id 'row-0'"):
        run_batch(rows(tmp_path, 3, question="Something else?"), out, CAN)
    with pytest.raises(ConfigError, match="comes twice"):
        run_batch(rows(tmp_path, 3, id="row-2"), tmp_path / "fresh.jsonl", CAN)
    with pytest.raises(ConfigError, match="was not made by a batch"):
        run_batch(rows(tmp_path, 3), given, CAN)
    for no_file in (tmp_path, "/dev/zero"):
        with pytest.raises(ConfigError, match="is no file"):
            run_batch(given, no_file, CAN)
    assert ids(out) == ["row-0", "row-1", "row-2"]
    with out.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(ConfigError, match="line 4, is no outcome"):
        run_batch(given, out, CAN)


def test_rows_that_are_no_longer_there_are_reported(tmp_path):
    given, out = rows(tmp_path, 5), tmp_path / "out.jsonl"
    run_batch(given, out, CAN)
    given.write_text("".join(given.read_text().splitlines(keepends=True)[2:]))
    tally = run_batch(given, out, CAN)
    assert (tally.rows, tally.done, tally.gone, tally.asked) == (3, 3, 2, 0)


def test_two_runs_do_not_write_one_file(tmp_path):
    given, out = rows(tmp_path, 2), tmp_path / "out.jsonl"
    second = []

    def reply(_):
        try:
            asyncio.run(arun_batch(given, out, CAN))
        except ConfigError as error:
            second.append(str(error))
        return ANSWER

    async def elsewhere():
        return await asyncio.to_thread(reply, None)

    class Slow(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            await elsewhere()
            return await super().reply(conversation, seed=seed)

    run_batch(given, out, VisionAgent(Slow([ANSWER])), policy="ScriptedPolicy")
    assert "another run is writing" in second[0]
    assert len(ids(out)) == 2


# Errors that stop it


def test_a_wrong_key_stops_the_run_and_nothing_of_the_unfinished_is_recorded(tmp_path, monkeypatch):
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
    assert {line["stop_reason"] for line in lines(out)} == {"answered"}
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


# Concurrency


def test_a_slow_endpoint_is_kept_busy(tmp_path):
    chance = random.Random(0)

    async def slow(_):
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        return chat(ANSWER)

    with Scripted([slow]).serving() as url:
        given, asking = rows(tmp_path, 160), agent(url)
        started = time.monotonic()
        run_batch(given, tmp_path / "out.jsonl", asking, concurrency=32)
        took = time.monotonic() - started
    # 32 in flight at 2 s each; the last of them are not 32 any more. The benchmark has the figure of a quiet machine.
    assert 160 / 32 * 2.0 / took > 0.5


def test_overloaded_it_asks_fewer_at_once_and_climbs_back(tmp_path):
    room, busy, limits = 4, 0, []

    async def answer(_):
        nonlocal busy
        if busy >= room:
            return failure(429, "too many", retry_after_ms="30")
        busy += 1
        await asyncio.sleep(0.03)
        busy -= 1
        return chat(ANSWER)

    def watch(tally, pace):
        nonlocal room
        limits.append(pace.limit)
        if tally.done > 150:
            room = 1000

    endpoint = Scripted([answer])
    with endpoint.serving() as url:
        tally = run_batch(
            rows(tmp_path, 500), tmp_path / "out.jsonl", agent(url, patience=60.0), concurrency=32, watch=watch
        )
    assert tally.stop_reasons == {"answered": 500}
    assert limits[0] == 32
    assert min(limits[20:150]) < 8
    assert limits[-1] > 16


def test_the_pace_halves_once_for_a_swarm_of_complaints_and_climbs_by_steps():
    async def told():
        pace = Pace(64)
        for _ in range(64):
            await pace.enter()
        for _ in range(50):
            pace.overloaded()
        assert pace.limit == 32
        for _ in range(32):
            pace.leave(smoothly=False)
        assert pace.in_flight == 32
        pace.overloaded()
        pace.overloaded()
        assert pace.limit == 16
        waiting = asyncio.ensure_future(pace.enter())
        for _ in range(16):
            pace.leave(smoothly=False)
            await asyncio.sleep(0)
            assert not waiting.done()
        pace.leave(smoothly=True)
        await waiting
        assert pace.limit == 16 + 4 / 16
        for _ in range(10_000):
            pace.leave(smoothly=True)
        assert pace.limit == 64

    asyncio.run(told())


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
