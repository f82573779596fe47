"""The process that trains: `python -m agentic_vision.training.verl.main RUN`, where RUN holds a composed verl.yaml.

A process of its own, because verl reads its platform and its log file from the environment when it is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..run_folder import RunFolder
from .parent import end_with_parent


def main(run: Path) -> None:
    """Train as `run`/verl.yaml says, from the last checkpoint on if there is one."""
    from omegaconf import OmegaConf
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    from .config import check

    config = OmegaConf.load(run / "verl.yaml")
    OmegaConf.set_struct(config, True)
    check(config)
    end_with_parent(RunFolder(run))
    run_ppo(config, task_runner_class=TaskRunnerV1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
