"""No room, or a folder that cannot be written: one line says so, what is there is whole, and later it goes on.

The room is that of `RLIMIT_FSIZE`: beyond it a write fails as on a full disk, with another number.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from batches import agent, ids, lines
from batches import rows as batch_rows
from endpoints import Scripted, chat
from evaluations import policy, ten_rows
from PIL import Image
from scripted_agent import ANSWER
from typer.testing import CliRunner, Result

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.run import run_batch
from agentic_vision.cli import app
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.replies import Replies
from agentic_vision.image_store import ImageStore
from agentic_vision.judge_cache import JudgeCache
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Reply
from agentic_vision.source import Source
from agentic_vision.training.data.difficulty import measure
from agentic_vision.whole_file import Lines, write_whole


@contextmanager
def room(size: int) -> Iterator[None]:
    """Files of this process may not grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def command(*arguments: object, size: int | None = None) -> Result:
    """The command line, whose files have this room."""
    with room(size) if size is not None else nullcontext():
        return CliRunner(env={"OPENAI_API_KEY": "k"}).invoke(app, [str(one) for one in arguments])


def complaint(done: Result) -> str:
    """The one line on stderr, beside warnings, of a command that ended with 2."""
    assert done.exit_code == 2, done.stderr
    (said,) = (line for line in done.stderr.splitlines() if not line.startswith("agentic-vision: warning: "))
    return said


def test_a_line_is_whole_or_not_there_at_all(tmp_path: Path) -> None:
    file = Lines(tmp_path / "lines")
    file.add(b"first\n")
    with room(9), pytest.raises(OSError, match=r"File too large: '.*lines'"):
        file.add(b"second\n")
    assert file.path.read_bytes() == b"first\n"
    file.add(b"second\n")
    file.close()
    assert file.path.read_bytes() == b"first\nsecond\n"


def test_what_cannot_be_replaced_stays_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "page", b"first")
    (tmp_path / "link").symlink_to("page")
    with room(9), pytest.raises(OSError, match="page"):
        write_whole(tmp_path / "link", b"x" * 100)
    assert (tmp_path / "page").read_bytes() == b"first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "page"]
    write_whole(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page").read_bytes() == b"second"
    write_whole("/dev/null", b"gone")
    assert not Path("/dev/null").is_file()


def test_a_batch_says_so_keeps_whole_lines_and_goes_on(tmp_path: Path) -> None:
    given, out = batch_rows(tmp_path, 12), tmp_path / "out.jsonl"
    with Scripted([chat(ANSWER)]).serving() as url:
        asked = ("batch", given, "--out", out, "--policy", "m", "--base-url", url, "--concurrency", 2, "--json")
        said = complaint(command(*asked, size=2000))
        assert str(out) in said
        assert "the room on its disk" in said
        done = len(lines(out))  # each of them whole
        assert 0 < done < 12
        again = command(*asked)
    assert json.loads(again.stdout)["asked"] == 12 - done
    assert ids(out) == sorted(f"row-{number}" for number in range(12))


def test_a_batch_that_has_no_room_to_drop_lines_keeps_them(tmp_path: Path) -> None:
    given, out = batch_rows(tmp_path, 12), tmp_path / "out.jsonl"
    failing = Scripted([{"odd": True}, chat(ANSWER)])
    with failing.serving() as url:
        run_batch(given, out, agent(url), concurrency=1)
        before = out.read_bytes()
        with room(1000), pytest.raises(OSError, match=r"out\.jsonl"):
            run_batch(given, out, agent(url), concurrency=1)
        assert out.read_bytes() == before
        assert not list(tmp_path.glob("*.part"))
        assert run_batch(given, out, agent(url), concurrency=1).stop_reasons == {"answered": 12}


def test_an_evaluation_says_so_keeps_whole_lines_and_goes_on(tmp_path: Path) -> None:
    rows, out = ten_rows(tmp_path), tmp_path / "out"
    with room(6000), pytest.raises(OSError, match=r"trajectories\.jsonl"):
        evaluate(rows, policy(), ["glance", "full"], out, batch_size=2)
    kept = lines(out / "trajectories.jsonl")
    assert 0 < len(kept) < 20
    summary = evaluate(rows, policy(), ["glance", "full"], out)
    assert (summary.n, summary.in_trouble, summary.strategies["glance"].accuracy) == (10, 0, 0.5)
    figures = (out / "summary.json").read_bytes()
    with room(1000), pytest.raises(OSError, match=r"summary\.json"):
        evaluate(rows, policy(), ["glance", "full"], out)
    assert (out / "summary.json").read_bytes() == figures
    assert len(lines(out / "trajectories.jsonl")) == 20


def test_replies_that_cannot_be_kept_are_used_all_the_same(tmp_path: Path, caplog: Any) -> None:
    replies = Replies(tmp_path / "replies.sqlite")
    with room(4096):
        for number in range(3):
            replies.put(str(number), Reply(text="x" * 4000))
    assert sum("cannot be kept" in record.message for record in caplog.records) == 1
    replies.put("later", Reply(text="x"))
    assert replies.get("later") == Reply(text="x")
    replies.close()


def test_so_are_verdicts(tmp_path: Path, caplog: Any) -> None:
    cache = JudgeCache(tmp_path / "verdicts.sqlite")
    with room(4096):
        for number in range(3):
            cache.put(str(number), True, "x" * 9000, "asked")
    assert sum("cannot be used" in record.message for record in caplog.records) == 1
    cache.put("later", True, "1", "asked")
    assert cache.get("later") == (True, "1")


def test_the_difficulty_filter_keeps_what_it_measured_and_goes_on(tmp_path: Path) -> None:
    asked = 0

    def answer(_: object) -> str:
        nonlocal asked
        asked += 1
        return ANSWER

    rows = ten_rows(tmp_path)
    given = ScriptedPolicy(answer, family="pocket")
    with room(200), pytest.raises(OSError, match=r"answers\.jsonl"):
        measure(rows, given, tmp_path / "out", n=1)
    kept = lines(tmp_path / "out" / "answers.jsonl")
    assert 0 < len(kept) < 10
    asked = 0
    assert [one.id for one in measure(rows, given, tmp_path / "out", n=1)] == [row.id for row in rows]
    assert asked == 2 * (10 - len(kept))


def test_an_answer_is_said_though_its_trace_cannot_be_written(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "white").save(tmp_path / "picture.png")
    trace = tmp_path / "trace.html"
    with Scripted([chat(ANSWER)]).serving() as url:
        options = ("--policy", "m", "--base-url", url, "--trace", trace, "--json")
        done = command("ask", tmp_path / "picture.png", "Which number?", *options, size=1000)
    assert "cannot write the trace" in complaint(done)
    assert json.loads(done.stdout)["answer"] == "417"
    assert not trace.exists()


def test_an_image_that_cannot_be_kept_is_told_and_leaves_nothing(tmp_path: Path, picture: Image.Image) -> None:
    store = ImageStore(tmp_path / "images")
    with room(1000), pytest.raises(ConfigError, match="see to the room on its disk"):
        store.keep(Source.open(picture))
    assert list((tmp_path / "images").iterdir()) == []


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written, even by root."""
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.getuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], capture_output=True).returncode:
        pytest.skip("root writes everywhere here, and may mount nothing")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path, locked: Path) -> None:
    given = batch_rows(tmp_path, 2, answer="417")
    endpoint = Scripted([chat(ANSWER)])
    with endpoint.serving() as url:
        options = ("--policy", "m", "--base-url", url)
        assert str(locked) in complaint(command("batch", given, "--out", locked / "out.jsonl", *options))
        assert str(locked) in complaint(command("batch", given, "--out", locked / "deep" / "out.jsonl", *options))
        assert str(locked) in complaint(command("eval", given, "--out", locked, "--strategy", "glance", *options))
    assert endpoint.requests == []
    with pytest.raises(ConfigError, match="cannot keep verdicts"):
        JudgeCache(locked / "verdicts.sqlite")
    with pytest.raises(OSError, match="locked"):
        measure(ten_rows(tmp_path), ScriptedPolicy([ANSWER], family="pocket"), locked, n=1)
    result = VisionAgent(ScriptedPolicy([ANSWER])).ask(tmp_path / "picture.png", "Which number?")
    with pytest.raises(ConfigError, match="cannot write the trace"):
        result.save_trace(locked / "trace.html")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_on_a_disk_that_is_really_full_and_then_is_not(tmp_path: Path, small: Path) -> None:
    given, rows, out = batch_rows(tmp_path / "batch", 60), ten_rows(tmp_path), small / "out.jsonl"
    filler = small / "filler"
    filler.write_bytes(b"x" * 244 * 1024)
    with Scripted([chat(ANSWER)]).serving() as url:
        asked = ("batch", given, "--out", out, "--policy", "m", "--base-url", url, "--json")
        assert f"{out} (No space left on device)" in complaint(command(*asked))
        assert 0 < len(lines(out)) < 60
        with pytest.raises(OSError, match="No space left on device"):
            evaluate(rows, policy(), ["glance"], small / "out")
        filler.unlink()
        assert command(*asked).exit_code == 0
    assert len(ids(out)) == len(set(ids(out))) == 60
    assert evaluate(rows, policy(), ["glance"], small / "out").strategies["glance"].accuracy == 0.5
