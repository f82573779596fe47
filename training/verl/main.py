"""The process that trains: `python -m agentic_vision.training.verl.main RUN`, where RUN holds a composed verl.yaml.

A process of its own, because verl reads its platform and its log file from the environment when it is imported. It
ends when its standard input is closed: when whoever started it has gone.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main(run: Path) -> None:
    """Train as `run`/verl.yaml says, from the last checkpoint on if there is one."""
    from omegaconf import OmegaConf
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    from .config import check

    config = OmegaConf.load(run / "verl.yaml")
    OmegaConf.set_struct(config, True)
    check(config)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_ppo(config, task_runner_class=TaskRunnerV1)


def _end_with_parent() -> None:
    while os.read(0, 1):  # unbuffered: a buffer's lock would be in the way when the interpreter ends
        pass
    import ray

    ray.shutdown()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
