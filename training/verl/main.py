"""The process that trains: `python -m agentic_vision.training.verl.main RUN`, where RUN holds a composed verl.yaml.

A process of its own, because verl reads its platform and its log file from the environment when it is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(run: Path) -> None:
    """Train as `run`/verl.yaml says, from the last checkpoint on if there is one."""
    from omegaconf import OmegaConf
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = OmegaConf.load(run / "verl.yaml")
    OmegaConf.set_struct(config, True)
    validate_config(config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    run_ppo(config, task_runner_class=TaskRunnerV1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
