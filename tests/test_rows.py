"""Rows are read from JSONL, and what is none is told by its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluations import ten_rows

from agentic_vision.errors import ConfigError
from agentic_vision.rows import read_rows


def test_a_file_that_cannot_be_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jsonl", "x" * 300):
        with pytest.raises(ConfigError, match=r"cannot read .*give a JSONL file"):
            read_rows(path)


def test_a_folder_of_rows_is_as_good_as_their_file(tmp_path: Path) -> None:
    assert ten_rows(tmp_path) == read_rows(tmp_path)


def test_paths_are_relative_to_the_file_and_urls_are_not(tmp_path: Path) -> None:
    images = ["a.png", "/b.png", "https://example.org/c.png", "data:image/png;base64,AAAA"]
    row = {"id": "a", "images": images, "question": "q", "answer": "b"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert read_rows(tmp_path)[0].images == (str(tmp_path / "a.png"), *images[1:])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no rows"),
        ("{", r"line 1, is no row"),
        ('{"id": "a", "images": [], "question": "q", "answer": "b"}', r"line 1, is no row \(images"),
        ('{"id": "a", "images": ["x"], "question": "q"}', r"line 1, is no row \(answer: field required"),
        (
            '{"id": "a", "images": ["x"], "question": "q", "answer": "b", "evidence": [9, 0, 9, 5]}',
            r"line 1, is no row \(evidence: value error, a box is x0, y0, x1, y1",
        ),
        (
            f'{{"id": "a", "images": ["x"], "question": "q", "answer": "b", "options": {["o"] * 27}}}'.replace(
                "'", '"'
            ),
            r"line 1, is no row \(options: tuple should have at most 26 items",
        ),
        ('{"id": 1, "images": ["x"], "question": "q", "answer": 2}\n' * 2, "line 2: the id '1' comes twice"),
    ],
)
def test_a_file_that_holds_no_rows_is_told_by_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_rows(path)
