"""Trajectories that a training run kept, on the page of a report."""

from __future__ import annotations

from pathlib import Path

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


def test_trajectories_of_a_run_are_shown_by_its_steps(tmp_path: Path) -> None:
    def note(samples: Samples, step: int, correct: bool) -> None:
        asked = group(trajectory("417" if correct else "418", tool=correct), kind="fine", id=f"row-{step}")
        scores = Scores((1.5,), {"accuracy": (float(correct),), "format": (0.5,)})
        samples.note(step, [ScoredGroup(["g_0"], [{}], [3], asked, scores, None, [0], [-0.1])] * 9)

    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 9, "reward": 1}\n')
    samples = Samples(run / SAMPLES)
    for step in range(1, 10):
        note(samples, step, correct=step > 5)
    assert len((run / SAMPLES).read_text().splitlines()) == 9 * MOST
    note(samples, 1, correct=True)  # done again after a kill: that one counts
    with (run / SAMPLES).open("a") as file:
        file.write('{"row": "row-9", "stra')
    text = write_report(Report.of([run]), {}, run).read_text()
    assert [f"run, step {step}</span>" in text for step in (1, 4, 5, 6, 9)] == [True, True, False, True, True]
    page = Page(text)
    assert page.open == []
    assert sum({"right", "called", "fine"} <= card for card in page.cards) == 3
    assert sum({"wrong", "direct", "fine"} <= card for card in page.cards) == 1
    evaluate(ten_rows(tmp_path), policy(), ["glance", "full", "agent"], tmp_path / "out")
    both = write_report(Report.of([tmp_path / "out", run]), {}, run).read_text()
    assert len(Page(both).cards) == 30 + 4
