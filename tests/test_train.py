"""Stock verl trains, end to end: killed and gone on with, with a tool and a reward of one's own, and then served."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from html_page import Page

pytest.importorskip("verl")

from agentic_vision import VisionAgent
from agentic_vision.messages import StopReason
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.report.page import Report, write_report
from agentic_vision.training.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
PATIENCE = 600.0  # seconds: most of them go to starting Ray on a busy machine

OWN = '''
from agentic_vision.training import ExactMatch, FunctionReward

def moody(trajectory, reference):
    """Fails for every direct answer: such a trajectory has no verdict."""
    if not trajectory.calls:
        raise RuntimeError("I do not feel like it")
    return 0.5

def reward():
    return ExactMatch() + FunctionReward(moody)
'''


class Training:
    """`agentic-vision train` in a process of its own. What it says goes into files, so that it never waits for us."""

    def __init__(self, out: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "agentic_vision", "train", *arguments, "--out", str(out), "--json"]
        self.out, self.said = out, [out.with_suffix(suffix) for suffix in (".out", ".err")]
        with self.said[0].open("wb") as told, self.said[1].open("wb") as complained:
            self.process = subprocess.Popen(command, stdout=told, stderr=complained)

    def ended(self) -> dict[str, Any]:
        """What it told, when all went well."""
        assert self.process.wait(PATIENCE) == 0, self.complaint
        told: dict[str, Any] = json.loads(self.said[0].read_text())  # one object, whatever verl and Ray say
        return told

    @property
    def complaint(self) -> str:
        return self.said[1].read_text()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """A run with a tool and a reward of one's own, beside the others: much of every run is waiting for Ray."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    changes = [
        f"agent.tools=['{ROOT}/examples/train_custom_tool.py:zoom_crop']",
        f"reward.target={folder}/own.py:reward",
        "steps=2",
        "save_every=1",
    ]
    training = Training(folder / "run", "pocket_smoke", *changes)
    yield training
    training.process.kill()


@pytest.fixture(scope="module")
def whole(own: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 (begun before)
    """A run that nothing disturbed."""
    training = Training(tmp_path_factory.mktemp("whole") / "run", "pocket_smoke", "steps=4", "save_every=1")
    assert training.ended()["steps"] == 4
    return training.out


@pytest.fixture(scope="module")
def broken(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:  # noqa: ARG001 (ended before)
    """A run that only the trainer, which has the model, finds to be impossible, beside the one that is killed."""
    training = Training(tmp_path_factory.mktemp("broken") / "run", "pocket_smoke", "frozen=[nonesuch]")
    yield training
    training.process.kill()


class TestSmoke:
    def test_it_says_what_happened(self, whole: Path) -> None:
        lines = RunFolder(whole).steps()
        assert [line["step"] for line in lines] == [1, 2, 3, 4]
        for line in lines:
            assert {"reward", "accuracy", "call_ratio", "call_ratio_fine", "call_ratio_coarse"} <= line.keys()
            assert 0 < line["visual_tokens_ratio"] < 2
            assert line["part_call_ratio_penalty"] <= 0.1
            assert line["grad_norm"] > 0
        assert (whole / "curves.png").is_file()

    def test_its_page_has_its_curves(self, whole: Path) -> None:
        report = Report.of([whole])
        assert report.unfinished == []
        text = write_report(report, {}, whole).read_text()
        assert Page(text).titles[:4] == ["Call ratio", "Accuracy", "Visual tokens / full resolution", "Reward"]
        assert "4, done" in text
        assert len(Page(text).cards) == 4 * 4  # some trajectories of every step
        assert text.count('class="looked"') == 4 * 4
        assert "broken" not in text

    def test_it_is_hardly_ever_idle(self, whole: Path) -> None:
        for line in RunFolder(whole).steps()[1:]:
            phases = ("rollout", "log_prob", "advantage", "update", "weights", "checkpoint")
            busy = sum(line.get(f"seconds_{phase}", 0) for phase in phases)
            assert busy / line["seconds"] > 0.85

    def test_the_policy_is_served_as_it_was_trained(self, whole: Path) -> None:
        agent = VisionAgent(str(whole / "policy"))
        result = agent.ask(ROOT / "examples" / "receipt.png", "What is the total?")
        assert result.stop_reason is StopReason.ANSWERED
        before, after = EmbeddedPolicy.load(), agent.policy
        assert after.style is before.style
        assert after.family == before.family
        ours, theirs = (dict(policy.model.named_parameters()) for policy in (before, after))
        moved = {name for name, weight in theirs.items() if not weight.equal(ours[name].to(weight.dtype))}
        assert moved
        assert not any("visual" in name for name in moved)  # the recipe keeps the vision tower as it is


@pytest.mark.usefixtures("broken")
def test_a_killed_run_goes_on_as_if_nothing_had_been(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed = Training(out, "pocket_smoke", "steps=4", "save_every=1")
    deadline = time.monotonic() + PATIENCE
    while len(RunFolder(out).steps()) < 2:
        assert killed.process.poll() is None, killed.complaint
        assert time.monotonic() < deadline
        time.sleep(0.2)
    family = psutil.Process(killed.process.pid).children(recursive=True)
    killed.process.kill()
    killed.process.wait()
    # Ray's own agents try for a minute to tell a cluster that is gone that it is gone.
    _, alive = psutil.wait_procs(family, timeout=180)
    assert not alive  # nothing trains on behind one's back
    assert Training(out, "pocket_smoke", "steps=4", "save_every=1").ended()["steps"] == 4
    here, there = (RunFolder(folder).steps() for folder in (out, whole))
    assert [line["step"] for line in here] == [1, 2, 3, 4]
    # The same questions at every step, before the kill and after it.
    assert [line["prompt_tokens"] for line in here] == [line["prompt_tokens"] for line in there]
    assert here[0]["reward"] == pytest.approx(there[0]["reward"])


def test_a_tool_and_a_reward_of_ones_own(own: Training) -> None:
    own.ended()
    for line in RunFolder(own.out).steps():
        assert 0 < line["no_verdict"] < 1  # they have no advantage, and training goes on
        assert line["part_moody"] == 0.5
        assert line["no_verdict"] == pytest.approx(1 - line["call_ratio"])


def test_what_breaks_off_says_why(broken: Training) -> None:
    assert broken.process.wait(PATIENCE) == 2
    assert "training broke off after step 0" in broken.complaint
    assert "no parameter has nonesuch in its name" in broken.complaint
    assert len(broken.complaint.splitlines()[-1]) < 1000
