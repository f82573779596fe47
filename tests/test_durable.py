"""Threads that outlive their process: LangGraph's SQLite and Postgres savers, and images that were no files."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripted_agent import ANSWER, FULL, Failing, crop

from agentic_vision import ConfigError, ImageError, PolicyError, VisionAgent
from agentic_vision.image_store import ImageStore
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.source import Source

pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs the extra: pip install 'agentic-vision[dev]'")
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

# Looks closer, then hangs in its second turn until it is killed; another process goes on with the thread.
KILLED = """
import asyncio, sys
from PIL import Image
from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from langgraph.checkpoint.sqlite import SqliteSaver

class Hanging(ScriptedPolicy):
    async def reply(self, conversation, *, seed=None):
        if len(conversation.images) > 1:
            print("looked", flush=True)
            await asyncio.sleep(600)
        return await super().reply(conversation, seed=seed)

folder = sys.argv[1]
with SqliteSaver.from_conn_string(f"{folder}/threads.sqlite") as saver:
    agent = VisionAgent(Hanging([sys.argv[2]]), checkpointer=saver, image_folder=f"{folder}/images")
    agent.ask(Image.open(f"{folder}/given.png"), "Which number?", thread_id="one")
"""


def test_a_question_killed_between_turns_is_taken_up_where_it_stood(tmp_path, picture):
    picture.save(tmp_path / "given.png")
    command = [sys.executable, "-c", KILLED, str(tmp_path), crop(0, 0, 500, 500)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "looked\n"
        process.send_signal(signal.SIGKILL)
    (tmp_path / "given.png").unlink()  # it was given as an image, not as a file
    policy = ScriptedPolicy([FULL, ANSWER])  # were it asked anew, it would look again
    with SqliteSaver.from_conn_string(f"{tmp_path}/threads.sqlite") as saver:
        agent = VisionAgent(policy, checkpointer=saver, image_folder=tmp_path / "images")
        result = agent.resume("one")
        assert result.answer == "417"
        assert [call.name for call in result.trajectory.calls] == ["zoom_crop"]
        assert agent.ask(None, "And now?", thread_id="one").trajectory.views == result.trajectory.views
        result.save_trace(tmp_path / "trace.html")


def _asked_twice(agent, picture):
    async def twice():
        first = await agent.aask(picture, "Which number?", thread_id="one")
        return first, await agent.aask(None, "And now?", thread_id="one")

    return twice()


def test_the_async_saver_serves_as_well(tmp_path, picture):
    async def session():
        async with AsyncSqliteSaver.from_conn_string(f"{tmp_path}/threads.sqlite") as saver:
            agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=saver, image_folder=tmp_path / "images")
            return await _asked_twice(agent, picture)

    first, second = asyncio.run(session())
    assert first.answer == second.answer == "417"
    assert len(second.trajectory.views) == 2


@contextmanager
def postgres(folder: Path):
    """A Postgres of our own on a socket in `folder`; gives the address of its database."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    if as_postgres:
        for path in (folder, *folder.parents[:-2]):
            path.chmod(path.stat().st_mode | 0o755)
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    initialise = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "me", "--no-sync"]
    subprocess.run([*as_postgres, *initialise], check=True, capture_output=True)
    serve = [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"]
    with subprocess.Popen([*as_postgres, *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            ready = [binaries / "pg_isready", "-h", folder, "-q"]
            started = time.monotonic()
            while subprocess.run(ready, check=False).returncode:
                assert server.poll() is None
                assert time.monotonic() - started < 60
                time.sleep(0.05)
            yield f"postgresql:///postgres?host={folder}&user=me"
        finally:
            server.terminate()


@pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin")), reason="needs Debian's package postgresql")
def test_postgres_keeps_threads(tmp_path_factory, picture):
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    images = tmp_path_factory.mktemp("images")
    with postgres(tmp_path_factory.mktemp("pg")) as address:
        with PostgresSaver.from_conn_string(address) as saver:
            saver.setup()
            agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=saver, image_folder=images)
            assert agent.ask(picture, "Which number?", thread_id="one").answer == "417"

        async def again():
            async with AsyncPostgresSaver.from_conn_string(address) as saver:
                other = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver, image_folder=images)
                return await other.aask(None, "And now?", thread_id="one")

        assert len(asyncio.run(again()).trajectory.views) == 2


def test_a_checkpoint_of_a_48_megapixel_image_is_small_and_its_bytes_are_kept_once(tmp_path):
    large = Image.fromarray(np.zeros((6000, 8000, 3), dtype=np.uint8))
    for y in range(0, 6000, 500):
        large.paste((y // 25, 90, 200), (0, y, 8000, y + 250))
    large.save(tmp_path / "large.jpg", quality=80)
    data = (tmp_path / "large.jpg").read_bytes()
    database = tmp_path / "threads.sqlite"
    with SqliteSaver.from_conn_string(str(database)) as saver:
        agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=saver, image_folder=tmp_path / "images")
        for thread in ("one", "two"):
            assert agent.ask(data, "Which number?", thread_id=thread).answer == "417"
        latest = saver.get_tuple({"configurable": {"thread_id": "one"}})
        kind, blob = saver.serde.dumps_typed(latest.checkpoint)
    assert len(blob) < 100_000, kind
    (kept,) = (tmp_path / "images").iterdir()
    assert kept.read_bytes() == data


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "YCbCr", "HSV", "LAB", "PA"]
)
def test_images_of_every_mode_come_back_as_they_were(tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 250)
    elif mode == "LAB":
        image = Image.frombytes("LAB", (40, 30), noise.tobytes())
    elif mode == "PA":
        image = Image.fromarray(noise).quantize(16).convert("PA")
    else:
        image = Image.fromarray(noise).convert(mode)
    source, store = Source.open(image), ImageStore(tmp_path)
    store.keep(source)
    again = store.get(source.digest, "image")
    assert again is not None
    assert again.digest == source.digest


def test_a_file_whose_name_is_no_text_is_asked_about_kept_and_told_of(tmp_path, picture):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.png")
    try:
        picture.save(name, "PNG")
    except OSError:
        pytest.skip("this file system takes text alone")
    with SqliteSaver.from_conn_string(f"{tmp_path}/threads.sqlite") as saver:
        agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver)
        trajectory = agent.ask(name, "Which number?", thread_id="one").trajectory
        assert trajectory.answer == "417"
        assert trajectory.sources[0].label.endswith("a\N{REPLACEMENT CHARACTER}.png")
        assert type(trajectory).model_validate_json(trajectory.model_dump_json()) == trajectory
        assert agent.ask(name, "And now?", thread_id="one").answer == "417"
    (missing,) = agent.batch([(name + ".gone", "Which number?")])
    assert "there is no file" in missing.trajectory.detail
    missing.trajectory.model_dump_json()


def test_files_stay_where_they_are_and_a_folder_that_cannot_be_is_said(tmp_path, picture):
    picture.save(tmp_path / "picture.png")
    store = ImageStore(tmp_path / "images")
    store.keep(Source.open(tmp_path / "picture.png"))
    assert list((tmp_path / "images").iterdir()) == []
    with pytest.raises(ConfigError, match="cannot be kept"):
        VisionAgent(ScriptedPolicy([ANSWER]), image_folder=tmp_path / "picture.png")


def test_what_cannot_be_kept_or_is_damaged_is_told_and_holds_nothing(tmp_path, picture):
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.sqlite")) as saver:
        agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver, image_folder=tmp_path / "images")
        agent.ask(picture, "Which number?", thread_id="one")
        (kept,) = (tmp_path / "images").iterdir()
        assert kept.stat().st_mode & 0o777 == (tmp_path / "threads.sqlite").stat().st_mode & 0o777  # as any other file
        kept.write_bytes(b"\x89PNG")
        other = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver, image_folder=tmp_path / "images")
        with pytest.raises(ConfigError, match="damaged"):
            other.ask(None, "And now?", thread_id="one")
        shutil.rmtree(tmp_path / "images")
        with pytest.raises(ConfigError, match="cannot be kept"):
            other.ask(picture.rotate(90), "Which number?", thread_id="two")
        assert not any(other._runs.holds(thread) for thread in ("one", "two"))


def test_the_graph_itself_begins_a_thread_once(tmp_path, picture):
    picture.save(tmp_path / "picture.png")
    given = {"question": "Which number?", "images": [str(tmp_path / "picture.png")]}
    config = {"configurable": {"thread_id": "one"}}
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.sqlite")) as saver:
        agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver)
        assert asyncio.run(agent.graph.ainvoke(given, config))["answer"] == "417"
        with pytest.raises(ConfigError, match="has been asked already"):
            asyncio.run(agent.graph.ainvoke(given, config))
        assert agent.ask(None, "And now?", thread_id="one").answer == "417"


@pytest.mark.parametrize("given", [{"question": None}, {"question": "?"}, {"question": "?", "images": "a.png"}, {}])
def test_what_the_graph_needs_is_told(given):
    with pytest.raises(ConfigError, match=r"the graph needs \{"):
        asyncio.run(VisionAgent(ScriptedPolicy([ANSWER])).graph.ainvoke(given))


@pytest.mark.parametrize("name", [7, "", 0, "\udcff", b"one"])
def test_what_is_no_name_of_a_thread_is_told_before_anything_is_stored(tmp_path, picture, name):
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.sqlite")) as saver:
        agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver)
        for ask in (lambda: agent.ask(picture, "Which?", thread_id=name), lambda: agent.resume(name)):
            with pytest.raises(ConfigError, match="is no name of a thread"):
                ask()
        assert list(saver.list(None)) == []
    with pytest.raises(ConfigError, match="opened with `with` first"):
        VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=SqliteSaver.from_conn_string(":memory:"))


def test_a_thread_that_was_begun_on_the_graph_itself_goes_on_with_the_agent(tmp_path, picture):
    picture.save(tmp_path / "picture.png")
    given = {"question": "Which number?", "images": [str(tmp_path / "picture.png")]}

    async def begin(agent, thread, **changes):
        return await agent.graph.ainvoke({**given, **changes}, {"configurable": {"thread_id": thread}})

    with SqliteSaver.from_conn_string(str(tmp_path / "threads.sqlite")) as saver:
        failing = VisionAgent(Failing(PolicyError("away")), checkpointer=saver)
        assert asyncio.run(begin(failing, "one"))["stop"] == "policy_failed"
        with pytest.raises(ImageError):
            asyncio.run(begin(failing, "two", images=[str(tmp_path / "none.png")]))
        agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver)
        assert agent.resume("one").answer == "417"
        assert agent.ask(None, "And now?", thread_id="one").answer == "417"
        assert agent.resume("two", picture).answer == "417"
