"""The rows of a batch: JSONL, parquet or a folder of images, and what is none of these."""

from __future__ import annotations

import os

import pyarrow
import pyarrow.parquet
import pytest
from batches import CAN, ids, lines, lines_to, rows
from scripted_agent import ANSWER

from agentic_vision import ConfigError, VisionAgent
from agentic_vision.batch.rows import Rows
from agentic_vision.batch.run import run_batch
from agentic_vision.policies.scripted import ScriptedPolicy


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


def test_names_that_differ_only_in_what_cannot_be_stored_stay_different(tmp_path, picture):
    (tmp_path / "in").mkdir()
    for name in (b"a\xfe.png", b"a\xff.png", "a\u00e9.png".encode()):
        picture.resize((64, 64)).save(tmp_path / "in" / "picture.png")
        os.rename(tmp_path / "in" / "picture.png", os.fsencode(tmp_path / "in") + b"/" + name)
    for asked in (3, 0):
        assert run_batch(tmp_path / "in", tmp_path / "out.jsonl", CAN, question="What is it?").asked == asked
    assert len(set(ids(tmp_path / "out.jsonl"))) == 3
    assert "a\u00e9.png" in ids(tmp_path / "out.jsonl")


def test_a_row_that_is_nested_without_end_is_a_bad_one(tmp_path):
    given = rows(tmp_path, 1)
    depths = [*range(800, 1000), 100_000]  # what can be read may still be too deep to be written
    with given.open("a") as file:
        file.writelines(f'{{"question": "What?", "images": {"[" * depth}{"]" * depth}}}\n' for depth in depths)
    tally = run_batch(given, tmp_path / "out.jsonl", CAN)
    assert tally.stop_reasons == {"answered": 1, "bad_row": 201}


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


def test_a_place_that_cannot_be_written_is_told_with_the_mend(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out.jsonl", tmp_path / ("x" * 250)):
        with pytest.raises(ConfigError, match=r"cannot write .*--out"):
            run_batch(rows(tmp_path, 1), out, CAN)


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
