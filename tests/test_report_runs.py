"""The page of training runs: curves of one and of several, how far they are, broken files, and the page that renews."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from html_page import Page
from typer.testing import CliRunner, Result

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError
from agentic_vision.report.charts import Line, chart
from agentic_vision.report.metrics import Curve, curve, read_metrics
from agentic_vision.report.page import Report, write_report
from agentic_vision.report.training_runs import TrainingRun, groups_in

PATIENCE = 60.0  # seconds


def line(step: int, **more: float) -> str:
    told = {"step": step, "reward": 1 + step / 100, "accuracy": 0.5 + step / 100, "call_ratio": 0.5, "seconds": 12.0}
    return json.dumps({**told, "call_ratio_fine": 0.9, "call_ratio_coarse": 0.1, "turns": 1.5, **more}) + "\n"


def begin(folder: Path, upto: int, steps: int = 20, **settings: Any) -> Path:
    """A run of so many steps, at step `upto`."""
    folder.mkdir(parents=True)
    recipe = {"name": "mine", "description": "It learns.", "steps": steps, "reward": {"target": "exact"}, **settings}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "metrics.jsonl").write_text("".join(line(step) for step in range(1, upto + 1)))
    return folder


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def page_of(*folders: Path) -> str:
    return write_report(Report.of(folders), {}, folders[0]).read_text()


def test_one_run_has_its_kinds_in_one_chart_with_first_last_and_best(tmp_path: Path) -> None:
    text = page_of(begin(tmp_path / "run", 20))
    page = Page(text)
    assert page.open == []
    assert page.titles[:3] == ["Call ratio", "Accuracy", "Reward"]
    assert "20, done" in text
    assert "It learns." in text
    assert "51 → 66.5 %" in text  # means over the first step, and over the last eight
    assert "best 66.5 %, step 20" in text
    assert "step 10\nall: 50 %\nfine: 90 %\ncoarse: 10 %" in text
    assert '<th scope="row">reward.target</th><td>exact</td>' in text


def test_several_runs_are_lines_of_one_chart_a_figure_and_differ_in_what_they_were_told(tmp_path: Path) -> None:
    first, second = begin(tmp_path / "a", 20, price=1), begin(tmp_path / "b", 10, price=2)
    text = page_of(first, second)
    assert Page(text).titles[:4] == ["Call ratio: all", "Call ratio: fine", "Call ratio: coarse", "Accuracy: all"]
    assert "10 of 20, about 2 min left" in text
    assert '<th scope="row">price</th><td>1</td><td>2</td>' in text
    assert "step 10\na: 50 %\nb: 50 %" in text


def test_seeds_are_one_line_with_a_band_and_a_sweep_is_its_variants(tmp_path: Path) -> None:
    for name in ("low", "high"):
        for seed in (1, 2):
            folder = begin(tmp_path / "sweep" / name / f"seed-{seed}", 20, price=name, seed=seed)
            (folder / "metrics.jsonl").write_text("".join(line(step, reward=seed) for step in range(1, 21)))
    (tmp_path / "sweep" / "notes").mkdir()
    groups = groups_in(tmp_path / "sweep", "sweep")
    assert [(group.name, len(group.runs)) for group in groups] == [("high", 2), ("low", 2)]
    reward = curve(groups[0].told, "reward")
    assert reward is not None
    assert (reward.lows[-1], reward.means[-1], reward.highs[-1], reward.raw) == (1, 1.5, 2, None)
    assert 'class="band"' in page_of(tmp_path / "sweep")
    others = [begin(tmp_path / "several" / name, 3, price=name) for name in ("x", "y")]
    assert [group.name for group in groups_in(tmp_path / "several", "several")] == [folder.name for folder in others]


def test_broken_lines_are_left_out_and_told(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run", 2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "rew\n[1]\n{"reward": 1}\n' + "[" * 100_000 + "\n")
        file.write('{"step": 4, "reward": NaN, "accuracy": 1e400, "turns": ' + "9" * 400 + ', "kl": "much"}\n')
        file.write(line(5) + line(6)[:-9])
    lines, broken = read_metrics(folder / "metrics.jsonl")
    assert ([told["step"] for told in lines], broken) == ([1, 2, 4, 5], 4)
    reward = curve([lines], "reward")
    assert reward is not None
    assert reward.steps == [1, 2, 5]
    assert "4 lines are broken, and left out" in page_of(folder)
    (folder / "recipe.json").write_text('{"steps": ')
    unknown = TrainingRun.of(folder)
    assert (unknown.steps, unknown.step, unknown.done) == (None, 5, False)
    assert Page(page_of(folder)).open == []


@pytest.mark.parametrize("values", [[1e29, -1e29], [1e-300, 2e-300], [0.0, 0.0], [5.0], [1.5, 0.2]])
def test_any_number_can_be_drawn(values: list[float]) -> None:
    steps = [float(step) for step in range(len(values))]
    for share in (True, False):
        drawn = chart("x", [Line("a", 1, Curve(steps, values, values, values, values))], share=share)
        assert not re.search(r"\bnan\b|\binf\b", drawn)
        assert Page(drawn).open == []


def test_what_has_not_begun_says_so(tmp_path: Path) -> None:
    assert f"{tmp_path / 'run'}: no step has been told yet" in page_of(begin(tmp_path / "run", 0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds neither an evaluation nor a training run"):
        Report.of([tmp_path / "empty"])
    waiting = write_report(Report.of([tmp_path / "empty"], wait=True), {}, tmp_path, again=5)
    assert f"There is nothing in {tmp_path / 'empty'} yet." in waiting.read_text()


def test_the_command_writes_where_it_is_told(tmp_path: Path) -> None:
    begin(tmp_path / "run", 5)
    done = run("report", tmp_path / "run", "--out", tmp_path / "elsewhere", "--json")
    told = json.loads(done.stdout)
    assert told["runs"] == [{"folder": str(tmp_path / "run"), "step": 5, "steps": 20, "done": False}]
    assert told["page"] == str(tmp_path / "elsewhere" / "report.html")
    assert 'http-equiv="refresh"' not in Path(told["page"]).read_text()  # nobody writes it anew
    assert "step 5 of 20, about 3 min left" in run("report", tmp_path / "run").stdout


def watching(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agentic_vision", "report", str(folder), "--watch"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def awaited(page: Path, text: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while not page.exists() or text not in page.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return page.read_text()


def test_watched_the_page_follows_the_run_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = watching(folder)  # before there is anything
    assert 'http-equiv="refresh" content="5"' in awaited(folder / "report.html", "nothing in")
    made = begin(tmp_path / "other", 3)
    for name in ("recipe.json", "metrics.jsonl"):
        (made / name).rename(folder / name)
    awaited(folder / "report.html", "3 of 20, about 3 min left")
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(line(step) for step in range(4, 21))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "step 3 of 20" in out
    text = (folder / "report.html").read_text()
    assert "20, done" in text
    assert 'http-equiv="refresh"' not in text


def test_an_interrupt_ends_watching(tmp_path: Path) -> None:
    folder = begin(tmp_path / "run", 3)
    process = watching(folder)
    awaited(folder / "report.html", "3 of 20")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "stopped watching\n")
    assert Page((folder / "report.html").read_text()).open == []
