"""Killed at drawn moments, it ends as if nothing had been: a batch, an evaluation, the difficulty filter, threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evaluations import policy, ten_rows

from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.folder import by_strategy

KILLED = Path(__file__).parent.parent / "benchmarks" / "reliability" / "killed.py"


def test_the_end_is_that_of_an_unbroken_run() -> None:
    # In a process of its own, which forks: it has no threads yet.
    command = [sys.executable, str(KILLED), "--kills", "3", "--rows", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split("|")[2].strip() for line in done.stdout.splitlines()[2:6]] == ["3"] * 4


def test_who_reads_an_evaluation_that_is_running_takes_nothing_from_it(tmp_path: Path) -> None:
    evaluate(ten_rows(tmp_path), policy(), ["glance"], tmp_path / "out")
    log = tmp_path / "out" / "trajectories.jsonl"
    with log.open("ab") as running:
        running.write(b'{"row": "row-10", "str')
    before = log.read_bytes()
    assert len(by_strategy(tmp_path / "out")["glance"]) == 10
    assert log.read_bytes() == before
