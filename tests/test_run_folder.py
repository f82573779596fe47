"""The folder of a run: what survives a kill, and what is told of a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentic_vision.errors import ConfigError
from agentic_vision.report.metrics import smoothed
from agentic_vision.report.training_runs import runs_in
from agentic_vision.training import recipe as recipes
from agentic_vision.training.curves import draw_curves
from agentic_vision.training.launch import launch, reason
from agentic_vision.training.run_folder import RunFolder, step_figures


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.claim(recipes.read("pocket_smoke"))
    return folder


def checkpointed(run: RunFolder, step: int) -> None:
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "latest_checkpointed_iteration.txt").write_text(str(step))


def test_it_goes_on_from_the_last_checkpoint(run: RunFolder) -> None:
    for step in range(1, 6):
        run.add(step, {"reward": step / 10})
    with run.metrics.open("a") as out:
        out.write('{"step": 6, "rew')  # a kill in the middle of a line
    assert [line["step"] for line in run.steps()] == [1, 2, 3, 4, 5]
    checkpointed(run, 3)
    assert [line["step"] for line in run.rewind()] == [1, 2, 3]
    run.add(4, {"reward": 0.4})
    assert [line["step"] for line in run.steps()] == [1, 2, 3, 4]


def test_a_step_that_a_kill_kept_from_being_told_is_told_later(run: RunFolder) -> None:
    """verl wrote its checkpoint and its log, and we were killed before we had read them."""
    for step in (1, 2):
        run.add(step, {"reward": step / 10})
    figures = {"agentic/seconds_rollout": 1.0}
    said = [{"step": step, "data": {"agentic/reward": step / 10, **figures}} for step in (0, 1, 2, 3, 4)]
    said[0]["data"] = {"val-core/fine/reward/mean@1": 0.5}
    del said[3]["data"]["agentic/reward"]  # no trajectory had a verdict
    lines = [json.dumps(line) + "\n" for line in said]
    lines.insert(2, '{"step": 2, "da[1, 2]\n')  # a full disk
    run.next_log().write_text("".join(lines) + '{"step": 5, "da')
    checkpointed(run, 3)
    assert [line["step"] for line in run.rewind()] == [1, 2, 3]
    assert run.steps()[-1] == {"step": 3, "seconds_rollout": 1.0}


@pytest.mark.parametrize("steps", [(), (2, 10, 9)])
def test_where_a_kill_or_a_full_disk_left_no_number_the_newest_whole_checkpoint_counts(
    run: RunFolder, steps: tuple[int, ...]
) -> None:
    for step in steps:
        (run.checkpoints / f"global_step_{step}").mkdir(parents=True)
        (run.checkpoints / f"global_step_{step}" / "data.pt").touch()
    (run.checkpoints / "global_step_11").mkdir(parents=True)  # the one that was being written
    run.latest.write_text("")
    run.rewind()
    assert run.resumes_at == max(steps, default=0)
    assert run.latest.exists() == bool(steps)  # verl reads no empty one


def test_without_a_checkpoint_it_starts_over(run: RunFolder) -> None:
    run.add(1, {"reward": 0.1})
    assert run.rewind() == []
    assert run.resumes_at == 0


def test_another_recipe_does_not_go_on_with_it(run: RunFolder) -> None:
    run.claim(recipes.read("pocket_smoke", ["steps=50"]))  # more of the same is fine
    with pytest.raises(ConfigError, match="other learning_rate, reward"):
        run.claim(recipes.read("pocket_smoke", ["learning_rate=1", "reward.threshold=0"]))
    (run.path / "recipe.json").write_text("{")
    with pytest.raises(ConfigError, match="broken"):
        run.claim(recipes.read("pocket_smoke"))


def test_a_description_may_change_but_steps_that_were_made_stay(run: RunFolder) -> None:
    run.claim(recipes.read("pocket_smoke", ["description=better said", "name=other"]))
    checkpointed(run, 6)
    run.claim(recipes.read("pocket_smoke", ["steps=6"]))
    with pytest.raises(ConfigError, match="has made 6 steps: give steps=6 or more"):
        run.claim(recipes.read("pocket_smoke", ["steps=5"]))


def test_a_folder_is_one_runs_at_a_time(run: RunFolder) -> None:
    """The second would cut back the figures of the first."""
    run.add(1, {"reward": 0.1})
    with run.locked(), pytest.raises(ConfigError, match="another run is writing"):
        launch(recipes.read("pocket_smoke"), run.path)
    assert len(run.steps()) == 1


def test_every_attempt_has_a_log_of_its_own(run: RunFolder) -> None:
    first = run.next_log()
    first.touch()
    assert run.next_log() != first


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (
            "(Loop pid=7) RuntimeError: row-3: the prompt has 1656 tokens\nValueError: Received an empty list as keys.",
            "1656",
        ),
        ("agentic_vision.errors.ConfigError: there is no tool 'x'\nray.exceptions.RayTaskError: no", "no tool 'x'"),
        ("torch.OutOfMemoryError: CUDA out of memory\nSystemExit", "CUDA out of memory"),
        ("it sleeps", "ended from outside"),
    ],
)
def test_why_a_run_broke_off(tmp_path: Path, log: str, why: str) -> None:
    (tmp_path / "verl.log").write_text(f"RuntimeError: row-1: of the attempt before\n{log}\n")
    begun = (tmp_path / "verl.log").read_text().index("\n") + 1
    assert why in reason(tmp_path / "verl.log", begun)


def test_what_is_told_of_a_step() -> None:
    said = {
        "agentic/reward": 0.5,
        "agentic/call_ratio_fine": 0.9,
        "actor/grad_norm": 0.1,
        "timing_s/gen": 2.0,
        "val-aux/coarse/accuracy/mean@1": 0.7,
        "training/something/else": 3,
        "config": "text",
    }
    told = {"reward": 0.5, "call_ratio_fine": 0.9, "grad_norm": 0.1, "seconds_rollout": 2.0, "val_accuracy_coarse": 0.7}
    assert step_figures(said) == told


class TestCurves:
    def test_of_one_run_and_of_seeds(self, run: RunFolder, tmp_path: Path) -> None:
        for step in range(1, 20):
            run.add(step, {"reward": step / 20, "call_ratio": 0.5, "call_ratio_fine": 0.7, "accuracy": 0.4})
        seeds = tmp_path / "seeds"
        for seed in (1, 2):
            other = RunFolder(seeds / f"seed{seed}")
            other.claim(recipes.read("pocket_smoke"))
            for step in range(1, 10):
                other.add(step, {"reward": seed / 10, "call_ratio": seed / 4})
        assert len(runs_in(seeds)) == 2
        one, both = draw_curves([run.path], tmp_path / "a.png"), draw_curves([run.path, seeds], tmp_path / "b.png")
        assert one.read_bytes()[:4] == both.read_bytes()[:4] == b"\x89PNG"
        assert one.read_bytes() != both.read_bytes()

    def test_the_legend_names_the_lines_that_there_are(
        self, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from matplotlib.figure import Figure

        shown: list[list[str]] = []
        real = Figure.legend
        monkeypatch.setattr(
            Figure,
            "legend",
            lambda self, handles, labels, **how: shown.append(labels) or real(self, handles, labels, **how),
        )
        run.add(1, {"reward": 0.5, "call_ratio": 0.5})
        draw_curves([run.path], tmp_path / "a.png")
        run.add(2, {"reward": 0.5, "call_ratio_fine": 0.5})
        draw_curves([run.path], tmp_path / "a.png")
        assert shown == [["run", "all questions"], ["run", "all questions", "fine"]]

    def test_of_a_run_that_has_not_begun(self, run: RunFolder, tmp_path: Path) -> None:
        assert draw_curves([run.path], tmp_path / "a.png").is_file()

    def test_of_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="holds no run"):
            draw_curves([tmp_path], tmp_path / "a.png")

    def test_smoothing(self) -> None:
        assert smoothed([1.0, 2.0, 3.0, 4.0], over=2) == [1.0, 1.5, 2.5, 3.5]
