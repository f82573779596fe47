"""Data sets of the field's shapes become rows; what is wrong with one row stops no others."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agentic_vision.errors import ConfigError, RowError
from agentic_vision.loading import Columns, load_rows
from agentic_vision.matching import matcher
from agentic_vision.rows import Fault, Row, read_rows


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


PICTURE = {"bytes": png(), "path": "red.png"}


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def colour(row: Row) -> Any:
    return Image.open(row.images[0]).getpixel((0, 0))


def as_jsonl(folder: Path) -> Path:
    (folder / "red.png").write_bytes(png())
    return jsonl(folder / "rows.jsonl", {"id": "a", "images": ["red.png"], "question": "Which?", "answer": "red"})


def as_parquet(folder: Path) -> Path:
    return parquet(folder / "rows.parquet", {"id": "a", "image": PICTURE, "question": "Which?", "answer": "red"})


def as_shards(folder: Path) -> Path:
    row = {"image": PICTURE, "question": "Which?", "answer": "red"}
    parquet(folder / "hub" / "data" / "test-00000-of-00002.parquet", {"id": "a", **row})
    parquet(folder / "hub" / "data" / "test-00001-of-00002.parquet", {"id": "b", **row, "answer": "blue"})
    return folder / "hub"


def as_saved(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "images": datasets.List(datasets.Image()),
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    rows = {"id": ["a"], "images": [[Image.new("RGB", (40, 30), "red")]], "question": ["Which?"], "answer": ["red"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def as_imagefolder_jsonl(folder: Path) -> Path:
    (folder / "red.png").write_bytes(png())
    jsonl(folder / "metadata.jsonl", {"file_name": "red.png", "id": "a", "question": "Which?", "answer": "red"})
    return folder


def as_imagefolder_csv(folder: Path) -> Path:
    (folder / "red.png").write_bytes(png())
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "id", "question", "answer"], ["red.png", "a", "Which?", "red"]])
    return folder


FORMS = [as_jsonl, as_parquet, as_shards, as_saved, as_imagefolder_jsonl, as_imagefolder_csv]


@pytest.mark.parametrize("make", FORMS)
def test_every_form_becomes_the_same_row(make: Callable[[Path], Path], tmp_path: Path) -> None:
    row, *_ = load_rows(make(tmp_path), tmp_path / "images")
    assert (row.id, row.question, row.answer, row.references) == ("a", "Which?", "red", ("red",))
    assert colour(row) == (255, 0, 0)


SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "textvqa": (
        {
            "image_id": "f1",
            "question_id": 34602,
            "question": "what brand?",
            "answers": ["dakota"] * 8 + ["clos", "nous"],
        },
        {"id": "34602", "answer": "dakota", "answers": ("dakota",) * 8 + ("clos", "nous")},
    ),
    "docvqa": (
        {"questionId": "337", "docId": 279, "question": "The date?", "answers": ["1/8/93", "Jan 8"]},
        {"id": "337", "answer": "1/8/93", "answers": ("1/8/93", "Jan 8")},
    ),
    "chartqa": (
        {"type": "human_test", "question": "How many?", "answer": "14"},
        {"id": "1", "answer": "14", "answers": ()},
    ),
    "chartqa's own": ({"query": "How many?", "label": ["14"]}, {"answer": "14", "answers": ()}),
    "vqav2": (
        {
            "question_id": 7,
            "question": "Which?",
            "multiple_choice_answer": "net",
            "answers": [{"answer": "net", "answer_id": 1}, {"answer": "netting", "answer_id": 2}],
        },
        {"id": "7", "answer": "net", "answers": ("net", "netting")},
    ),
    "mmbench": (
        {
            "index": 241,
            "question": "Which?",
            "hint": "Look.",
            "answer": "B",
            "A": "cat",
            "B": "dog",
            "C": "nan",
            "D": None,
        },
        {"id": "241", "answer": "B", "options": ("cat", "dog"), "question": "Look.\nWhich?"},
    ),
    "mmmu": (
        {"id": "validation_Art_1", "question": "<image 1> Which?", "options": "['cat', \"a dog's\"]", "answer": "B"},
        {"id": "validation_Art_1", "answer": "B", "options": ("cat", "a dog's")},
    ),
    "mmmu, open": ({"id": "m", "question": "How?", "options": "[]", "answer": "7"}, {"answer": "7", "options": ()}),
    "scienceqa": (
        {"question": "Which?", "choices": ["cat", "dog"], "answer": 1},
        {"answer": "B", "options": ("cat", "dog")},
    ),
    "realworldqa": ({"question": "Which?\n\nA. cat\nB. dog", "answer": "B"}, {"answer": "B", "options": ()}),
    "vstar": (
        {"text": "Which? (A) cat (B) dog", "category": "direct_attributes", "label": "B", "question_id": "0"},
        {"id": "0", "answer": "B", "question": "Which? (A) cat (B) dog"},
    ),
    "lettered": ({"question": "Which?", "options": ["(A) cat", "(B) dog"], "answer": "B"}, {"options": ("cat", "dog")}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_columns_of_benchmarks_are_known(shape: str, tmp_path: Path) -> None:
    said, expected = SHAPES[shape]
    image = {"image_1": PICTURE, "image_2": PICTURE, "image_3": None} if shape == "mmmu" else {"image": PICTURE}
    (row,) = load_rows(parquet(tmp_path / "rows.parquet", {**image, **said}), tmp_path / "images")
    assert {name: getattr(row, name) for name in expected} == expected
    assert len(row.images) == (2 if shape == "mmmu" else 1)
    rule = "choice" if row.answer == "B" else "exact"
    assert matcher(rule).compare(row.answer, row.references, row.options) == 1


def test_options_follow_the_question_behind_their_letters() -> None:
    row = Row(id="a", images=("x",), question="Which?", answer="B", options=("cat", "dog"))
    assert row.prompt == "Which?\nA. cat\nB. dog"
    assert row.model_copy(update={"options": ()}).prompt == "Which?"


def test_references_repeat_what_several_people_said() -> None:
    row = Row(id="a", images=("x",), question="?", answer="2", answers=("2", "2", "two"))
    assert row.references == ("2", "2", "two")
    assert row.model_copy(update={"answers": ("two",)}).references == ("2", "two")


def test_columns_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    said = {"pic": "red.png", "q": "Which?", "a": 3, "or": ["3", "three"], "o": ["2", "3"], "n": 9, "h": "Look."}
    path = jsonl(tmp_path / "rows.jsonl", said)
    columns = Columns(images="pic", question="q", answer="a", answers="or", options="o", id="n", hint="h")
    (row,) = load_rows(path, tmp_path / "images", columns)
    assert (row.id, row.question, row.answer) == ("9", "Look.\nWhich?", "3")
    assert (row.references, row.options) == (("3", "three"), ("2", "3"))
    with pytest.raises(RowError, match="line 1: there is no column 'images' for the images, but pic, q, a"):
        load_rows(path, tmp_path / "images")


def test_images_may_be_written_in_base64(tmp_path: Path) -> None:
    noise = Image.effect_noise((60, 40), 90).convert("RGB")  # a picture that is no tiny file
    buffer = io.BytesIO()
    noise.save(buffer, format="PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    row = {"question": "?", "answer": "x"}
    uri = f"data:image/png;base64,{text}"
    rows = load_rows(jsonl(tmp_path / "r.jsonl", {**row, "image": text}, {**row, "image": uri}), tmp_path / "images")
    assert rows[0].images == rows[1].images
    assert Path(rows[0].images[0]).read_bytes() == buffer.getvalue()


def test_equal_images_are_stored_once(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": "x", "image": PICTURE} for _ in range(3)]
    load_rows(parquet(tmp_path / "rows.parquet", *rows), tmp_path / "images")
    (file,) = (tmp_path / "images").iterdir()
    assert file.read_bytes() == png()


def test_rows_at_fault_stop_no_others(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "cut.png").write_bytes(png(size=(400, 300))[:-60])
    (tmp_path / "text.png").write_text("hello")
    good = {"images": ["red.png"], "question": "Which?", "answer": "red"}
    path = jsonl(
        tmp_path / "rows.jsonl",
        {"id": "a", **good},
        {"id": "a", **good},
        {"id": "b", **good, "answer": None},
        {"id": "c", **good, "answer": " "},
        {"id": "d", **good, "images": ["cut.png"]},
        {"id": "e", **good, "images": ["text.png"]},
        {"id": "f", **good, "images": ["gone.png"]},
        {"id": "g", **good, "images": []},
        {"id": "h", **good, "images": [3]},
        {"id": "i", **good, "images": ["http://127.0.0.1/a.png"]},
        {"id": "j", **good, "options": 3},
        {"id": "k", **good, "kind": "odd"},
        {"id": "l", **good, "question": ""},
        {"id": "m", "images": ["red.png"], "question": "Which?"},
        {},
        {"id": "z", **good},
        {"id": "n", **good, "options": "-" * 200_000},
        {"id": "o", **good, "options": [str(n) for n in range(30)], "answer": 27},
    )
    path.write_text(path.read_text() + '\n{"id"\n[1]\n{"id": ' + "7" * 5000 + "}\n")
    faults: list[Fault] = []
    rows = load_rows(path, tmp_path / "images", faults=faults)
    assert [row.id for row in rows] == ["a", "z"]
    wanted = [
        (2, "a", "comes twice"),
        (3, "b", "the answer is missing"),
        (4, "c", "the answer is missing"),
        (5, "d", "cut.png"),
        (6, "e", "text.png"),
        (7, "f", "gone.png"),
        (8, "g", "the row has no image"),
        (9, "h", "an image is int"),
        (10, "i", "no public address"),
        (11, "j", "the options are int"),
        (12, "k", "kind: "),
        (13, "l", "the question is missing"),
        (14, "m", "no column 'answer'"),
        (15, None, "no column 'images'"),
        (17, "n", "the options are the text"),
        (18, "o", "there are 30 options"),
        (20, None, "no JSON"),
        (21, None, "no JSON object"),
        (22, None, "no JSON"),
    ]
    assert [(fault.line, fault.id) for fault in faults] == [(line, id) for line, id, _ in wanted]
    for fault, (*_, reason) in zip(faults, wanted, strict=True):
        assert reason in fault.reason
    with pytest.raises(RowError, match="line 2: the id 'a' comes twice"):
        load_rows(path, tmp_path / "images")


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "a.csv").write_text("id,image,question,answer\na,red.png,?,x\n", encoding="utf-8-sig")
    (tmp_path / "a.jsonl").write_text(
        '{"id": "a", "images": ["red.png"], "question": "?", "answer": "x"}\n', encoding="utf-8-sig"
    )
    rows = [*load_rows(tmp_path / "a.csv", tmp_path), *load_rows(tmp_path / "a.jsonl", tmp_path)]
    assert [row.id for row in [*rows, *read_rows(tmp_path / "a.jsonl")]] == ["a"] * 3


def test_lines_of_csv_that_are_no_rows_stop_no_others(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    text = base64.b64encode(png() + bytes(200_000)).decode()  # a cell of more than csv reads by itself
    lines = ["a,,Which, then?,x", "b,red.png,Which?,x,", f"c,{text},Which?,x", "d,red.png,Which?"]
    (tmp_path / "a.csv").write_text("\n".join(["id,image,question,answer", *lines]) + "\n")
    faults: list[Fault] = []
    assert [row.id for row in load_rows(tmp_path / "a.csv", tmp_path / "images", faults=faults)] == ["b", "c"]
    assert [(fault.line, fault.reason) for fault in faults] == [
        (1, "it has more cells than the first line names"),
        (4, "the answer is missing"),
    ]


def test_the_hubs_converted_shards_are_one_split(tmp_path: Path) -> None:
    for number in range(2):
        row = {"id": str(number), "image": PICTURE, "question": "?", "answer": "x"}
        parquet(tmp_path / "test" / f"{number:04}.parquet", row)
    assert [row.id for row in load_rows(tmp_path / "test", tmp_path / "images")] == ["0", "1"]


def test_broken_bytes_are_a_fault(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "x"}
    images = [png(), b"no picture", png(size=(400, 300))[:-60]]
    path = parquet(tmp_path / "rows.parquet", *({**row, "image": {"bytes": image}} for image in images))
    faults: list[Fault] = []
    assert len(load_rows(path, tmp_path / "images", faults=faults)) == 1
    assert [fault.line for fault in faults] == [2, 3]


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "x"}
    pictures = [{"bytes": png(colour)} for colour in ("red", "green", "blue")]
    path = parquet(tmp_path / "rows.parquet", *({**row, "image": picture} for picture in pictures))
    assert len(load_rows(path, tmp_path / "images", limit=1)) == 1
    assert len(list((tmp_path / "images").iterdir())) < 3


@pytest.mark.parametrize("name", ["missing.jsonl", "empty.jsonl", "text.parquet", "folder", "latin.jsonl", "splits"])
def test_what_is_no_data_set(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    for split in ("train", "test"):
        parquet(tmp_path / "splits" / f"{split}-00000-of-00001.parquet", {"question": "?"})
    with pytest.raises(ConfigError, match=name.partition(".")[0]):
        load_rows(tmp_path / name, tmp_path / "images", faults=[])


def test_a_saved_data_set_of_several_splits_is_told(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_dict({"question": ["?"]})
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ConfigError, match=r"several splits: give the folder of one, such as .*saved/train"):
        load_rows(tmp_path / "saved", tmp_path / "images")
