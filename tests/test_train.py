"""Stock verl trains, end to end: killed and gone on with, with a tool and a reward of one's own, and then served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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


def train(out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agentic_vision", "train", *arguments, "--out", str(out), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    told: dict[str, Any] = json.loads(out)  # one JSON object and nothing else, whatever verl and Ray say
    return told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    told = ended(train(out, "pocket_smoke", "steps=4", "save_every=1"))
    assert told["steps"] == 4
    return out


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


def test_a_killed_run_goes_on_as_if_nothing_had_been(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = train(out, "pocket_smoke", "steps=4", "save_every=1")
    deadline = time.monotonic() + PATIENCE
    while len(RunFolder(out).steps()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # Ray's own agents try for a minute to tell a cluster that is gone that it is gone.
    _, alive = psutil.wait_procs(family, timeout=180)
    assert not alive  # nothing trains on behind one's back
    told = ended(train(out, "pocket_smoke", "steps=4", "save_every=1"))
    assert told["steps"] == 4
    here, there = (RunFolder(folder).steps() for folder in (out, whole))
    assert [line["step"] for line in here] == [1, 2, 3, 4]
    # The same questions at every step, before the kill and after it.
    assert [line["prompt_tokens"] for line in here] == [line["prompt_tokens"] for line in there]
    assert here[0]["reward"] == pytest.approx(there[0]["reward"])


def test_a_tool_and_a_reward_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    tool = ROOT / "examples" / "train_custom_tool.py"
    changes = [
        f"agent.tools=['{tool}:zoom_crop']",
        f"reward.target={tmp_path}/own.py:reward",
        "steps=2",
        "save_every=1",
    ]
    ended(train(tmp_path / "run", "pocket_smoke", *changes))
    for line in RunFolder(tmp_path / "run").steps():
        assert 0 < line["no_verdict"] < 1  # they have no advantage, and training goes on
        assert line["part_moody"] == 0.5
        assert line["no_verdict"] == pytest.approx(1 - line["call_ratio"])


def test_what_breaks_off_says_why(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def reward():\n    raise ValueError('there is no such thing')\n")
    process = train(tmp_path / "run", "pocket_smoke", f"reward.target={tmp_path}/own.py:reward")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "there is no such thing" in err
    assert len(err.splitlines()[-1]) < 1000
