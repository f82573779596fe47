"""Two runs side by side, the page that people open, and the plots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluations import honest, policy, ten_rows
from html_page import Page
from PIL import Image
from typer.testing import CliRunner, Result

from agentic_vision import source
from agentic_vision.cli import app
from agentic_vision.errors import ConfigError, PolicyError
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.compare import compare
from agentic_vision.evaluation.plots import plot_accuracy, plot_scenes
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation
from agentic_vision.protocol import write
from agentic_vision.report.evaluations import Evaluations, planned_text
from agentic_vision.report.page import Report, write_report
from agentic_vision.rows import Row

pytest.importorskip("matplotlib")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Twenty-five copies of the ten."""
    return [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(25) for row in ten_rows(tmp_path)]


def careless(conversation: Conversation) -> str:
    """As `honest`, but it never looks again."""
    said = honest(conversation)
    return write(answer="no idea") if "<tool_call>" in said else said


def test_two_runs_are_compared_question_by_question(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows, ScriptedPolicy(careless, family="pocket"), ["agent", "full"], tmp_path / "before")
    evaluate(rows[:200], policy(), ["agent", "full", "glance"], tmp_path / "after")
    found = compare(tmp_path / "before", tmp_path / "after")
    assert list(found) == ["agent", "full"]
    agent, full = found["agent"], found["full"]
    assert (agent.before, agent.after, agent.accuracy.n, agent.accuracy.gain) == (0.5, 0.9, 200, 80)
    assert agent.more_than_noise
    assert (agent.calls.before, agent.calls.after) == (0, 0.4)
    assert agent.visual_tokens.after > agent.visual_tokens.before
    assert (full.accuracy.difference, full.more_than_noise) == (0, False)
    printed = run("eval", "--compare", tmp_path / "before", tmp_path / "after").stdout
    assert "50.0 -> 90.0" in printed
    assert "more than noise: agent" in printed
    told = json.loads(run("eval", "--json", "--compare", tmp_path / "before", tmp_path / "after").stdout)
    assert told["agent"]["accuracy"]["gain"] == 80


def test_runs_that_share_nothing_are_not_compared(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows[:2], policy(), ["glance"], tmp_path / "a")
    evaluate(rows[2:4], policy(), ["glance"], tmp_path / "b")
    others = [row.model_copy(update={"question": f"{row.question} Or not?"}) for row in rows[:2]]
    evaluate(others, policy(), ["glance"], tmp_path / "c")  # of the same ids
    for other in "bc":
        with pytest.raises(ConfigError, match="no strategy with questions in common"):
            compare(tmp_path / "a", tmp_path / other)
    with pytest.raises(ConfigError, match=r"holds no evaluation \(trajectories.jsonl\)"):
        compare(tmp_path / "a", tmp_path)


def test_one_question_is_no_difference_that_is_more_than_noise(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows[3:4], ScriptedPolicy(careless, family="pocket"), ["agent"], tmp_path / "a")
    evaluate(rows[3:4], policy(), ["agent"], tmp_path / "b")
    shown = run("eval", "--compare", tmp_path / "a", tmp_path / "b").stdout
    assert "0.0 -> 100.0" in shown
    assert " *" not in shown


def test_the_plots_show_every_strategy_and_the_scenes(rows: list[Row], tmp_path: Path) -> None:
    names = ["glance", "resize:0.5", "resize:0.75", "full", "agent"]
    summary = evaluate(rows[:20], policy(), names, tmp_path / "out")
    with Image.open(plot_accuracy(summary, tmp_path / "accuracy.png")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 400
    scenes = plot_scenes(summary, tmp_path / "scenes.png")
    assert scenes is not None
    with Image.open(scenes) as picture:
        assert picture.width > 700
    without = evaluate(rows[:20], policy(), ["glance"], tmp_path / "other")
    assert plot_scenes(without, tmp_path / "none.png") is None
    with pytest.raises(ConfigError, match="cannot write the plot"):
        plot_accuracy(summary, tmp_path / "nowhere" / "accuracy.png")


def test_the_page_has_the_figures_the_plots_and_the_worst_disagreements(rows: list[Row], tmp_path: Path) -> None:
    hostile = rows[1].model_copy(update={"id": "<b>&1</b>", "question": rows[1].question})
    asked = [hostile, *rows[:40]]
    evaluate(asked, policy(), ["glance", "resize:0.5", "full", "agent"], tmp_path / "out")
    report = Report.of([tmp_path / "out"])
    path = write_report(report, {row.id: row for row in asked}, tmp_path / "out")
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert page.plots == ["accuracy", "scenes", "law"]
    assert "<b>&1" not in text
    assert (
        len([link for link in page.links if not link.startswith("#")]) == 5
    )  # every tenth row, and the hostile one, is one where it guesses
    assert all((path.parent / link).is_file() for link in page.links if not link.startswith("#"))
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    broken = (path.parent / next(link for link in page.links if link.startswith("disagreements/"))).read_text()
    assert 'It should be <b dir="auto">1</b>; <i>full</i> said <b dir="auto">1</b>.' in broken
    assert "../report.html" in Page(broken).links
    assert len(page.all_ids) == len(page.ids)
    assert "Worse than full: 5" in text
    assert report.evaluations is not None
    planned = report.evaluations.planned
    assert planned.law is not None
    assert planned.cheapest is not None
    assert planned.cheapest.name == "full"


def test_the_plan_names_the_cheapest_setting_for_a_target(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows[:20], policy(), ["glance", "full", "agent"], tmp_path / "a")
    evaluate(rows[:20], ScriptedPolicy(careless, family="pocket"), ["agent"], tmp_path / "b")
    report = Evaluations.of([tmp_path / "a", tmp_path / "b"], target=0.9)
    assert set(report.summary.strategies) == {"glance", "full", "agent", "agent (b)"}
    assert report.planned.cheapest is not None
    assert report.planned.cheapest.name == "agent"
    assert "90.0 % accuracy: agent, for" in planned_text(report.planned)
    assert "would tell what others cost" in planned_text(report.planned)
    assert "No setting that was measured reaches 100.0 %" not in planned_text(Evaluations.of([tmp_path / "a"]).planned)


def test_a_page_opens_no_image_but_of_what_it_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(ten_rows(tmp_path)[:1], policy(), ["agent", "full"], tmp_path / "out")
    opened: list[str] = []
    from_file = source._from_file
    monkeypatch.setattr(source, "_from_file", lambda path: opened.append(Path(path).name) or from_file(path))
    assert run("report", tmp_path / "out", "--data", tmp_path).exit_code == 0
    assert set(opened) == {"0.png"}


def test_a_law_is_of_one_folder_and_no_plan_goes_below_what_was_measured(rows: list[Row], tmp_path: Path) -> None:
    shares = ["glance", "resize:0.5", "full"]
    evaluate(rows[:20], policy(), shares[1:], tmp_path / "a")
    evaluate(rows[:20], ScriptedPolicy(careless, family="pocket"), shares, tmp_path / "b")
    assert Evaluations.of([tmp_path / "a"]).planned.law is None
    report = Evaluations.of([tmp_path / "a", tmp_path / "b"], target=0.1)
    assert [point.name for point in report.fitted] == ["glance", "resize:0.5 (b)", "full (b)"]
    assert report.planned.tokens == min(point.tokens for point in report.fitted)


def test_only_strategies_that_are_told_where_to_look_are_no_settings(rows: list[Row], tmp_path: Path) -> None:
    own = "test_evaluation_strategies:randomly"
    evaluate(rows[:4], policy(), [own, "random", "glance"], tmp_path / "a")
    assert [point.name for point in Evaluations.of([tmp_path / "a"]).points] == [own, "glance"]


def test_the_commands_evaluate_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_rows(tmp_path)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"id": "row-0", "images": ["0.png"], "question": "Again?", "answer": "1"}\n{"id": "x"}\n')
    monkeypatch.setattr("agentic_vision.policies.chosen.policy_of", lambda *_: policy())
    out = tmp_path / "out"
    done = run("eval", tmp_path, "--out", out, "--strategy", "glance,resize:0.36,full,agent")
    assert done.exit_code == 0, done.stderr
    for said in (
        "resize:0.36",
        "against full",
        "against glance",
        "rows of the data that cannot be used: 2, the first in line 11",
        "12",
        f"Written to {out}: summary.json, accuracy.png, scenes.png;",
    ):
        assert said in done.stdout
    assert {path.name for path in out.iterdir()} >= {"accuracy.png", "scenes.png", "summary.json"}
    told = json.loads(run("report", out, "--data", tmp_path, "--json").stdout)
    assert told["planned"]["cheapest"]["name"] == "full"
    assert Path(told["page"]).is_file()
    (tmp_path / "3.png").unlink()
    done = run("eval", tmp_path, "--out", tmp_path / "other", "--strategy", "glance")
    assert done.exit_code == 0
    assert "cannot be used: 3" in done.stdout
    assert run("eval", tmp_path).exit_code == 2


def test_a_question_without_a_score_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_rows(tmp_path)

    def fails_once(conversation: Conversation) -> str:
        if conversation.messages[-1].text == "Question 4?":
            raise PolicyError("the endpoint is down")
        return honest(conversation)

    failing = ScriptedPolicy(fails_once, family="pocket")
    monkeypatch.setattr("agentic_vision.policies.chosen.policy_of", lambda *_: failing)
    done = run("eval", tmp_path, "--out", tmp_path / "out", "--strategy", "glance")
    assert done.exit_code == 1
    said = "glance: 1 policy failed, not scored: the same command tries them again (the first: the endpoint is down)"
    assert said in " ".join(done.stdout.split())
    lost = run("eval", tmp_path, "--out", tmp_path / "out", "--judge-url", "http://127.0.0.1:1/v1")
    assert (lost.exit_code, "no --judge which model" in " ".join(lost.stderr.split())) == (2, True)
