"""Every row of a batch exactly once, whatever happens: where it is killed, in a real process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batches import CAN, agent, asked, ids, lines, rows
from endpoints import Scripted, chat, failure
from scripted_agent import ANSWER

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.run import arun_batch, run_batch
from agentic_vision.policies.scripted import ScriptedPolicy


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
