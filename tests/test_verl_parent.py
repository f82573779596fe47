"""How the process that trains ends: with its parent, whatever is in its log, and a checkpointed step's line first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentic_vision.training.run_folder import RunFolder

pytest.importorskip("verl", reason="needs the extra: pip install 'agentic-vision[train]'")

CHILD = """
import sys, time
from pathlib import Path
from agentic_vision.training.run_folder import RunFolder
from agentic_vision.training.verl.parent import end_with_parent

end_with_parent(RunFolder(Path(sys.argv[1])))
print("trains", flush=True)
time.sleep(600)
"""


@contextmanager
def training(run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", CHILD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"trains\n"
            yield child
        finally:
            child.kill()


def close(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()


def line(step: int, **figures: float) -> bytes:
    data = {f"agentic/{name}": value for name, value in {"seconds_rollout": 1.0, **figures}.items()}
    return json.dumps({"step": step, "data": data}).encode() + b"\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    return folder


def test_ctrl_c_and_its_parents_end_leave_it_the_time_for_the_line_of_a_checkpoint(run: RunFolder) -> None:
    log = run.next_log()
    log.write_bytes(line(1, reward=0.5))
    with training(run) as child:
        run.latest.write_text("")  # as verl leaves it for a moment
        child.send_signal(signal.SIGINT)
        close(child)
        time.sleep(0.5)
        run.latest.write_text("2")
        time.sleep(0.5)
        assert child.poll() is None
        with log.open("ab") as more:
            more.write(line(2, no_verdict=1.0))  # no trajectory of it had a verdict: it has a line all the same
        assert child.wait(30) == 1


@pytest.mark.parametrize("log", [b"", b'{"step": 3, "da' + line(3) + line(4)])
def test_it_ends_at_once_where_nothing_is_waited_for(run: RunFolder, log: bytes) -> None:
    """Not for what a run of before has left, nor over a line that a full disk broke."""
    run.latest.write_text("3")
    run.next_log().write_bytes(log)
    with training(run) as child:
        if log:
            run.latest.write_text("4")
        close(child)
        assert child.wait(30) == 1
