"""A training run from its recipe to the policy: prepared, run by verl in a process of its own, watched, and exported.

A run that was interrupted, in whatever way, goes on from its last checkpoint when it is launched again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from agentic_vision.errors import AgenticVisionError, ConfigError
from agentic_vision.policies.trained_for import TrainedFor
from agentic_vision.report.metrics import Figures
from agentic_vision.visual_tokens import family

from .curves import draw_curves
from .recipe import Recipe
from .run_folder import LOGGING_SECONDS, RunFolder, logged_step

POLL_SECONDS = 0.25
ENDING_SECONDS = LOGGING_SECONDS + 30.0  # what an interrupted trainer has to end its Ray cluster, too
DRAWN_EVERY = 10  # steps


class TrainingError(AgenticVisionError):
    """The training process ended before its last step."""


OnStep = Callable[[int, Figures], None]


def compose_run(recipe: Recipe, out: Path) -> Any:
    """verl's configuration of a run in `out`, checked by verl.

    Raises `ConfigError` where verl is not installed or refuses it, and for what the recipe names and is not there.
    """
    if find_spec("verl") is None:
        raise ConfigError.missing_extra("train", "Training")
    from .verl.config import check, compose

    _check_parts(recipe)
    with model_folder(recipe) as model:
        config = compose(recipe, out.absolute(), model)
    check(config)
    return config


def _check_parts(recipe: Recipe) -> None:
    """Raises `ConfigError` for what a recipe names and is not there: known now, and not when all has started."""
    from .imports import made
    from .rewards.reward import as_reward

    for reward in filter(None, (recipe.reward, recipe.side)):
        as_reward(made(reward))
    recipe.agent.toolbox()
    if recipe.agent.family:
        family(recipe.agent.family)


SHIPPED = {
    "open_decision": ("agentic_vision.training.warm_start", "open_decision"),
    "embedded": ("agentic_vision.policies", "embedded_checkpoint"),
}
"""The checkpoints in the package: the small model before and after it learned when to look."""


@contextmanager
def model_folder(recipe: Recipe) -> Iterator[str]:
    """Where the recipe's model is: a checkpoint that ships, a folder, or a name on the hub."""
    if recipe.model not in SHIPPED:
        yield os.path.abspath(recipe.model) if os.path.isdir(recipe.model) else recipe.model
        return
    package, folder = SHIPPED[recipe.model]
    with resources.as_file(resources.files(package) / folder) as path:
        yield str(path)


def launch(recipe: Recipe, out: Path, report: OnStep | None = None) -> Path:
    """Train, or go on training, in `out`; gives the folder of the policy.

    `report(step, figures)` is called for every step, those that were done before included. Raises `ConfigError` for
    what cannot be run, or is run already, `TrainingError` where the run broke off: what is checkpointed is kept.
    """
    run = RunFolder(out.absolute())
    with run.locked() as lock:
        run.claim(recipe)
        done = run.rewind()
        if report:
            for line in done:
                report(int(line["step"]), line)
        if run.resumes_at < recipe.steps:
            prepare(recipe, run)
            _train(recipe, run, report, lock)
        draw_curves([run.path], run.path / "curves.png")
        return export(recipe, run)


def prepare(recipe: Recipe, run: RunFolder) -> None:
    """Writes what verl reads: the data, the agent's settings and the configuration."""
    from .data.for_run import write_run_data
    from .verl.rollout import check_side

    config = compose_run(recipe, run.path)
    with model_folder(recipe) as model:
        if recipe.side:
            check_side(model)
        write_run_data(recipe, run.path / "data", model)
    loop = {
        "name": "agentic_vision",
        "_target_": "agentic_vision.training.verl.agent_loop.VisionAgentLoop",
        "settings": {**recipe.agent.model_dump(mode="json"), "seed": recipe.seed},
    }
    (run.path / "agent_loop.yaml").write_text(yaml.safe_dump([loop]), encoding="utf-8")
    from omegaconf import OmegaConf

    OmegaConf.save(config, run.path / "verl.yaml")


def export(recipe: Recipe, run: RunFolder) -> Path:
    """The last checkpoint, averaged with the start as asked, as a Hugging Face folder that says what it is for."""
    weights = run.checkpoints / f"global_step_{run.resumes_at}" / "actor" / "huggingface"
    if not weights.is_dir():
        raise TrainingError(f"the run in {run.path} has no checkpoint to make a policy of: train it further")
    partial = run.policy.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(weights, partial)
    if recipe.trained_share < 1:
        from .averaging import average

        with model_folder(recipe) as start:
            average(start, partial, recipe.trained_share)
    agent = recipe.agent
    TrainedFor(style=agent.style, family=agent.family, max_new_tokens=agent.max_new_tokens).write(partial)
    shutil.rmtree(run.policy, ignore_errors=True)
    partial.rename(run.policy)
    return run.policy


def environment(recipe: Recipe, log: Path) -> dict[str, str]:
    """What verl and Ray read from the environment."""
    env = {
        **os.environ,
        "VERL_FILE_LOGGER_PATH": str(log),
        "RAY_DEDUP_LOGS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "WANDB_MODE": "disabled",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if recipe.device == "cpu":
        env.pop("CUDA_VISIBLE_DEVICES", None)  # an empty one makes Ray refuse the label that verl counts
        env |= {
            "VERL_PLATFORM": "cpu",
            "VERL_USE_EXTERNAL_MODULES": "agentic_vision.training.verl.cpu",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "OMP_WAIT_POLICY": "passive",  # processes take turns: who waits must not spin
            "MALLOC_ARENA_MAX": "2",  # caches of every length come and go: many arenas would each keep their own waste
        }
    return env


def _train(recipe: Recipe, run: RunFolder, report: OnStep | None, lock: int) -> None:
    figures = run.next_log()
    command = [sys.executable, "-m", "agentic_vision.training.verl.main", str(run.path)]
    with run.log.open("ab") as said:
        begun = said.tell()
        process = subprocess.Popen(
            command,
            env=environment(recipe, figures),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),  # where we are killed, nobody else begins before the trainer has ended
        )
        try:
            for step, line in _lines(figures, process):
                run.add(step, line)
                if report:
                    report(step, line)
                if step % DRAWN_EVERY == 0:
                    draw_curves([run.path], run.path / "curves.png")
        finally:
            _end(process)
    if process.returncode != 0 or run.resumes_at < recipe.steps:
        why = reason(run.log, begun)
        raise TrainingError(
            f"training broke off after step {run.resumes_at} of {recipe.steps}: {why} (all of it is in {run.log}; "
            "run the same command again to go on)"
        )


def _lines(path: Path, process: subprocess.Popen[bytes]) -> Iterator[tuple[int, Figures]]:
    """The steps as verl logs them, until its process ends."""
    read = 0
    while True:
        ended = process.poll() is not None
        if path.exists():
            with path.open("rb") as log:
                log.seek(read)
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            read += len(whole)
            for line in whole.splitlines():
                if (told := logged_step(line)) is not None:
                    yield told
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes the trainer's input, which tells it to end, and waits for it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(?:\([^)]*\) )?((?:\w+\.)*\w*(?:Error|Exception|Killed)\b.*)")
# Of the package, or of a row that could not be rolled out.
_OURS = re.compile(r"agentic_vision\.|RuntimeError: [^:]*: ")


def reason(log: Path, begun: int) -> str:
    """The last error that verl's log tells of; the last of ours, where there is one, for verl's come of it."""
    with log.open("rb") as said:
        said.seek(begun)
        lines = _COLOUR.sub("", said.read().decode("utf-8", "replace")).splitlines()
    found = [match.group(1) for line in lines if (match := _ERROR.match(line))]
    ours = [said for said in found if _OURS.match(said)]
    return (ours or found or ["it was ended from outside"])[-1][:300]
