"""The process that trains: `python -m agentic_vision.training.verl.main RUN`, where RUN holds a composed verl.yaml.

A process of its own, because verl reads its platform and its log file from the environment when it is imported. It
ends when its standard input is closed, when whoever started it has gone; a step whose checkpoint is written is logged
first.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from ..run_folder import RunFolder

LOGGING_SECONDS = 60.0  # between a step's checkpoint and its line: what validation there may take


def main(run: Path) -> None:
    """Train as `run`/verl.yaml says, from the last checkpoint on if there is one."""
    from omegaconf import OmegaConf
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    from .config import check

    config = OmegaConf.load(run / "verl.yaml")
    OmegaConf.set_struct(config, True)
    check(config)
    threading.Thread(target=_end_with_parent, args=(RunFolder(run),), daemon=True).start()
    run_ppo(config, task_runner_class=TaskRunnerV1)


def _end_with_parent(run: RunFolder) -> None:
    begun = run.resumes_at
    while os.read(0, 1):  # unbuffered: a buffer's lock would be in the way when the interpreter ends
        pass
    given_up = time.monotonic() + LOGGING_SECONDS
    while run.resumes_at > begun and run.resumes_at not in run.logged() and time.monotonic() < given_up:
        time.sleep(0.05)
    import ray

    ray.shutdown()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
