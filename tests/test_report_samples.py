"""Trajectories that a training run kept, on the page of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluations import policy, ten_rows
from groups import group, trajectory
from html_page import Page

from agentic_vision.evaluation import evaluate
from agentic_vision.report.page import Report, write_report
from agentic_vision.report.samples import SAMPLES
from agentic_vision.training import Scores

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
from agentic_vision.training.verl.samples import MOST, Samples
from agentic_vision.training.verl.scored import ScoredGroup


def scored(row: str, *, correct: bool = True, **facts: Any) -> ScoredGroup:
    asked = group(trajectory("417" if correct else "418", tool=correct), id=row, **{"kind": "fine", **facts})
    scores = Scores((1.5,), {"accuracy": (float(correct),), "format": (0.5,)})
    return ScoredGroup(["g_0"], [{}], [3], asked, scores, None, [0], [-0.1])


def noted(path: Path) -> list[tuple[str, str]]:
    return [(line["strategy"], line["row"]) for line in map(json.loads, path.read_text().splitlines())]


def test_a_step_that_is_done_again_keeps_the_same_rows_whichever_ends_first(tmp_path: Path) -> None:
    path, rows = tmp_path / SAMPLES, [scored(f"row-{n}") for n in range(24)]
    samples = Samples(path)
    for step in (1, 2, 3):
        samples.note(step, rows)
    first = noted(path)
    assert {row for step, row in first if step == "step 1"} != {f"row-{n}" for n in range(MOST)}
    with path.open("a") as file:
        file.write('{"strategy": "step 2", "ro')  # killed
    again = Samples(path)
    again.restore(2)
    assert noted(path) == first[:MOST]
    again.note(2, rows[::-1])
    assert noted(path) == first[: 2 * MOST]


def test_a_row_that_cannot_be_shown_is_trained_on_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Samples(tmp_path / SAMPLES).note(1, [scored("a", kind="hard"), scored("b", scene=3), scored("c")])
    assert noted(tmp_path / SAMPLES) == [("step 1", "c")]
    assert ["row a" in caplog.text, "row b" in caplog.text] == [True, True]


def test_trajectories_of_a_run_are_shown_by_its_steps(tmp_path: Path) -> None:
    def note(samples: Samples, step: int, correct: bool) -> None:
        samples.note(step, [scored(f"row-{step}", correct=correct)] * 9)

    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 9, "reward": 1}\n')
    samples = Samples(run / SAMPLES)
    for step in range(1, 10):
        note(samples, step, correct=step > 5)
    assert len((run / SAMPLES).read_text().splitlines()) == 9 * MOST
    with (run / SAMPLES).open("a") as file:
        file.write('{"row": "row-9", "stra')
    text = write_report(Report.of([run]), {}, run).read_text()
    assert [f"run, step {step}</span>" in text for step in (1, 4, 5, 6, 9)] == [True, True, False, True, True]
    page = Page(text)
    assert page.open == []
    assert sum({"right", "called", "fine"} <= card for card in page.cards) == 2 * MOST
    assert sum({"wrong", "direct", "fine"} <= card for card in page.cards) == 2 * MOST
    evaluate(ten_rows(tmp_path), policy(), ["glance", "full", "agent"], tmp_path / "out")
    both = write_report(Report.of([tmp_path / "out", run]), {}, run).read_text()
    assert len(Page(both).cards) == 30 + 4 * MOST
