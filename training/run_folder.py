"""What stands in the folder of a training run, and what is told of its steps.

`recipe.json`, `data/`, `verl.yaml`, `agent_loop.yaml`, `checkpoints/`, `verl.log` (all that verl says), `metrics.jsonl`
(a line a step), `samples.jsonl` (some of its trajectories), `curves.png`, and at the end `policy/`: the checkpoint that
`VisionAgent(path)` loads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.only_writer import only_writer
from agentic_vision.report.metrics import Figures, read_metrics
from agentic_vision.whole_file import Lines, write_whole

from .recipe import Recipe

PREFIX = "agentic/"
NAMES = {
    "actor/entropy": "entropy",
    "actor/grad_norm": "grad_norm",
    "actor/kl_loss": "kl",
    "actor/lr": "learning_rate",
    "actor/pg_clipfrac": "clipped",
    "training/rollout_probs_diff_max": "rollout_probs_diff",
    "response_length/mean": "response_tokens",
    "prompt_length/mean": "prompt_tokens",
    "timing_s/step": "seconds",
    "timing_s/gen": "seconds_rollout",
    "timing_s/old_log_prob": "seconds_log_prob",
    "timing_s/ref": "seconds_reference",
    "timing_s/adv": "seconds_advantage",
    "timing_s/update_actor": "seconds_update",
    "timing_s/update_weights": "seconds_weights",
    "timing_s/save_checkpoint": "seconds_checkpoint",
    "timing_s/testing": "seconds_validation",
    "actor/perf/max_memory_allocated_gb": "trainer_gib",
    "actor/perf/cpu_memory_used_gb": "machine_gib",
}
"""verl's name of a figure -> ours."""
LOGGING_SECONDS = 60.0  # that a trainer which is told to end has between a checkpoint and its line, for validation
UNDECIDING = ("name", "description", "steps")  # settings with which a run may be gone on with that had others


def step_figures(data: Mapping[str, Any]) -> Figures:
    """A line of `metrics.jsonl`, but for its step, from what verl logs of it."""
    found: Figures = {}
    for name, value in data.items():
        if not isinstance(value, int | float):
            continue
        if name.startswith(PREFIX):
            found.setdefault(name.removeprefix(PREFIX), value)
        elif name in NAMES:
            found[NAMES[name]] = value
        elif name.startswith("val-") and name.endswith("/mean@1"):
            _, source, metric, _ = name.split("/", 3)
            if metric != "reward":  # verl's own, in which no verdict is no number: `total` is that of the others
                found[f"val_{'reward' if metric == 'total' else metric}_{source}"] = value
    return found


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "verl.log"

    @property
    def policy(self) -> Path:
        return self.path / "policy"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def latest(self) -> Path:
        """Where verl says which step was checkpointed last."""
        return self.checkpoints / "latest_checkpointed_iteration.txt"

    @property
    def resumes_at(self) -> int:
        """The step of the last whole checkpoint; 0 for none."""
        try:
            return int(self.latest.read_text())
        except (OSError, ValueError):
            return 0

    @contextmanager
    def locked(self) -> Iterator[int]:
        """The folder, made where there is none, for this process alone, and for those that inherit the descriptor.

        Raises `ConfigError` where another has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            only_writer(lock, self.path)
            yield lock.fileno()

    def claim(self, recipe: Recipe) -> None:
        """Makes the folder this recipe's, or checks that it is; only more `steps` may be asked for later.

        Raises `ConfigError` where it holds another run, or one of more steps.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        path, now = self.path / "recipe.json", recipe.model_dump(mode="json")
        if path.exists():
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path} is broken: give a fresh --out") from error
            changed = sorted(key for key in now if key not in UNDECIDING and now[key] != before.get(key))
            if changed:
                raise ConfigError(f"{self.path} holds a run with other {', '.join(changed)}: give a fresh --out")
        if recipe.steps < self.resumes_at:
            raise ConfigError(
                f"{self.path} holds a run that has made {self.resumes_at} steps: give steps={self.resumes_at} or more, "
                "or a fresh --out"
            )
        write_whole(path, (json.dumps(now, indent=2) + "\n").encode())

    def rewind(self) -> list[Figures]:
        """Cuts `metrics.jsonl` back to the last checkpoint, from which the run goes on; what is left of it.

        What verl logged of a step, and a kill kept from being told, is told now.
        """
        self._mend_latest()
        known = {**self.logged(), **{int(line["step"]): line for line in self.steps()}}
        kept = [known[step] for step in sorted(known) if step <= self.resumes_at]
        if kept or self.metrics.exists():
            write_whole(self.metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())
        return kept

    def _mend_latest(self) -> None:
        """verl empties the file before it writes the number, and cannot read an empty one: a kill or a full disk."""
        if not self.latest.exists() or self.resumes_at:
            return
        steps = [int(path.parent.name.rpartition("_")[2]) for path in self.checkpoints.glob("global_step_*/data.pt")]
        if steps:  # the data's place is the last part of a checkpoint that is written
            write_whole(self.latest, str(max(steps)).encode())
        else:
            self.latest.unlink()

    def steps(self) -> list[Figures]:
        """The lines of `metrics.jsonl`; one that is broken, or that a kill cut short, is left out."""
        return read_metrics(self.metrics)[0]

    def add(self, step: int, figures: Figures) -> None:
        """Appends the line of a step."""
        line = _line(step, figures)
        with closing(Lines(self.metrics)) as out:
            out.add(json.dumps(line).encode() + b"\n")

    def next_log(self) -> Path:
        """A new file for verl's own log of figures: verl empties the one that it is given."""
        return self._log(1 + len(list(self.path.glob("verl-*.jsonl"))))

    def _log(self, number: int) -> Path:
        return self.path / f"verl-{number}.jsonl"

    @property
    def unlogged(self) -> bool:
        """Whether the last checkpoint's step has no line yet in verl's own logs."""
        if not self.resumes_at:
            return self.latest.exists()  # the file is being written: verl empties it before
        return self.resumes_at not in self.logged()

    def logged(self) -> dict[int, Figures]:
        """The steps in verl's own logs, of each the last attempt."""
        found: dict[int, Figures] = {}
        number = 1
        while (log := self._log(number)).exists():
            number += 1
            for line in log.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n") and (told := logged_step(line)) is not None:
                    found[told[0]] = _line(*told)
        return found


def logged_step(line: bytes) -> tuple[int, Figures] | None:
    """The step and its figures that a line of verl's log tells of; None for what is no step's, and for a broken line.

    A full disk breaks lines: what verl writes of one then, it does not take back.
    """
    try:
        said = json.loads(line)
        step, found = int(said["step"]), step_figures(said["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    # Validation before the first step has a line of its own; a step without any verdict has no reward.
    return (step, found) if "seconds_rollout" in found else None


def _line(step: int, figures: Figures) -> Figures:
    return {"step": step, **{name: float(f"{value:.6g}") for name, value in figures.items()}}
