"""The examples of batches run as they stand, from the root of the repository; that on Ray on a Ray of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(name: str) -> list[str]:
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env["RAY_raylet_start_wait_time_s"] = "120"  # a busy machine is no failure of ours
    command = [sys.executable, f"examples/{name}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_is_asked_and_nothing_is_asked_twice() -> None:
    *answers, summary = run("batch.py")
    assert answers == ["receipt-1 25.15 ['zoom_crop']", "receipt-2 green []"]
    assert summary == "2 of 2 rows, 67% of the visual tokens saved; then 0 asked"


def test_a_ray_dataset_is_mapped_through_the_agent() -> None:
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentic-vision[train]'")
    assert run("batch_on_ray.py")[-2:] == ["What is the total? 25.15", "What color is the logo? green"]
