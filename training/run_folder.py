"""What stands in the folder of a training run, and what is told of its steps.

`recipe.json`, `data/`, `verl.yaml`, `agent_loop.yaml`, `checkpoints/`, `verl.log` (all that verl says), `metrics.jsonl`
(a line a step), `curves.png`, and at the end `policy/`: the checkpoint that `VisionAgent(path)` loads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentic_vision.errors import ConfigError
from agentic_vision.report.metrics import Figures, read_metrics

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
            found[f"val_{metric}_{source}"] = value
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
    def resumes_at(self) -> int:
        """The step of the last whole checkpoint; 0 for none."""
        latest = self.checkpoints / "latest_checkpointed_iteration.txt"
        try:
            return int(latest.read_text())
        except (OSError, ValueError):
            return 0

    def claim(self, recipe: Recipe) -> None:
        """Makes the folder this recipe's, or checks that it is; only more `steps` may be asked for later.

        Raises `ConfigError` where it holds another run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        path, now = self.path / "recipe.json", recipe.model_dump(mode="json")
        if path.exists():
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path} is broken: give a fresh --out") from error
            changed = sorted(key for key in now if key != "steps" and now[key] != before.get(key))
            if changed:
                raise ConfigError(f"{self.path} holds a run with other {', '.join(changed)}: give a fresh --out")
        write(path, json.dumps(now, indent=2) + "\n")

    def rewind(self) -> list[Figures]:
        """Cuts `metrics.jsonl` back to the last checkpoint, from which the run goes on; what is left of it."""
        kept = [line for line in self.steps() if line["step"] <= self.resumes_at]
        if self.metrics.exists():
            write(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))
        return kept

    def steps(self) -> list[Figures]:
        """The lines of `metrics.jsonl`; one that is broken, or that a kill cut short, is left out."""
        return read_metrics(self.metrics)[0]

    def add(self, step: int, figures: Figures) -> None:
        """Appends the line of a step."""
        line = {"step": step, **{name: float(f"{value:.6g}") for name, value in figures.items()}}
        with self.metrics.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    def next_log(self) -> Path:
        """A new file for verl's own log of figures: verl empties the one that it is given."""
        number = 1 + len(list(self.path.glob("verl-*.jsonl")))
        return self.path / f"verl-{number}.jsonl"


def write(path: Path, text: str) -> None:
    """Replaces `path` at once: whoever reads it sees the old text or the new one."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
