"""The training loop: stages of steps, lessons drawn ahead in a second process, everything resumable.

The lesson of step i of a stage depends on the seed, the stage and i alone: an interrupted run goes on with the very
pictures that it would have seen.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agentic_vision.whole_file import Lines, write_whole

from .optimizer import Optimizers, Trained

Figures = dict[str, float]


@dataclass(frozen=True)
class Stage:
    """So many steps of one kind of lesson. Rates warm up, stay, and fall linearly to `floor` of themselves."""

    name: str
    lesson: Callable[[random.Random], Any]
    steps: int
    muon: float
    adamw: float
    warmup: int = 50
    floor: float = 0.02
    decay_from: float = 0.0
    pace: float = 0.4  # of the vision tower, beside a language model that learns
    cells: float = 0.3  # weight of the cells' labels beside the answers
    gaze: float = 0.0  # weight of where the model looks
    blur: float = 0.0  # share of a coordinate's target that its neighbours get
    sharpen: float = 1.0  # see `Trained`

    def scale(self, step: int) -> float:
        """The learning rates' factor at `step`."""
        done = step / self.steps
        fall = (
            1.0 if done < self.decay_from else 1 - (1 - self.floor) * (done - self.decay_from) / (1 - self.decay_from)
        )
        return min(1.0, (step + 1) / self.warmup) * fall


def _draw(lesson: Callable[[random.Random], Any], key: str) -> Any:
    torch.set_num_threads(1)
    return lesson(random.Random(key))


def lessons(stage: Stage, seed: int, start: int, ahead: int) -> Iterator[Any]:
    """The stage's lessons from step `start` on, drawn `ahead` of their use (0: in this process, when they are used)."""
    keys = [f"{seed}/{stage.name}/{step}" for step in range(start, stage.steps)]
    if not ahead:
        yield from (stage.lesson(random.Random(key)) for key in keys)
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        queue: deque[Future[Any]] = deque()
        for key in keys:
            queue.append(pool.submit(_draw, stage.lesson, key))
            if len(queue) > ahead:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()


class StagedRun:
    """A training run in a folder: `metrics.jsonl`, `state.pt` (weights, optimizers, where it stands)."""

    def __init__(self, folder: Path, modules: dict[str, nn.Module], seed: int, *, ahead: int = 6) -> None:
        """Starts in `folder`, or goes on with what it holds; lessons are drawn `ahead` of their use."""
        self.folder, self.modules, self.seed, self.ahead = folder, modules, seed, ahead
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = folder / "metrics.jsonl"
        self.done: list[str] = []
        self.step = 0
        self._optimizers_state: Any = None
        state = folder / "state.pt"
        if state.exists():
            saved = torch.load(state, weights_only=True)
            for name, module in modules.items():
                module.load_state_dict(saved["modules"][name])
            self.done, self.step, self._optimizers_state = saved["done"], saved["step"], saved["optimizers"]

    def save(self, optimizers: Optimizers | None) -> None:
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": optimizers.state_dict() if optimizers else None,
            "done": self.done,
            "step": self.step,
        }
        partial = self.folder / "state.pt.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "state.pt")

    def stage(
        self,
        stage: Stage,
        learn: Callable[[Any], tuple[torch.Tensor, Figures]],
        trained: list[Trained],
        *,
        every: int = 20,
        save_every: int = 200,
        report: Callable[[str, int, int, Figures], None] | None = None,
    ) -> None:
        """Runs (or goes on with) `stage`; `learn` gives the loss and figures of one lesson."""
        if stage.name in self.done:
            return
        self._rewind(stage.name)
        optimizers = Optimizers(trained, muon=stage.muon, adamw=stage.adamw)
        if self._optimizers_state:
            optimizers.load_state_dict(self._optimizers_state)
            self._optimizers_state = None
        sums: dict[str, list[float]] = {}
        began = time.monotonic()
        for lesson in lessons(stage, self.seed, self.step, self.ahead):
            loss, figures = learn(lesson)
            loss.backward()
            norm = optimizers.step(stage.scale(self.step))
            self.step += 1
            for name, value in {"loss": float(loss.detach()), "norm": norm, **figures}.items():
                if value == value:  # a lesson without such a question has no figure
                    sums.setdefault(name, []).append(value)
            if self.step % every == 0 or self.step == stage.steps:
                means = {name: sum(values) / len(values) for name, values in sums.items()}
                means["seconds"] = (time.monotonic() - began) / every
                self._log(stage.name, means)
                if report:
                    report(stage.name, self.step, stage.steps, means)
                sums, began = {}, time.monotonic()
            if self.step % save_every == 0:
                self.save(optimizers)
        self.done, self.step = [*self.done, stage.name], 0
        self.save(None)

    def _rewind(self, stage: str) -> None:
        """Cuts the figures back to where the run stands: what follows is done again, or is half of a line."""
        if not self._metrics.exists():
            return
        lines = [line for line in self._metrics.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        write_whole(self._metrics, b"".join(line for line in lines if self._stands(json.loads(line), stage)))

    def _stands(self, told: dict[str, Any], stage: str) -> bool:
        return told["stage"] in self.done or (told["stage"] == stage and told["step"] <= self.step)

    def _log(self, stage: str, means: Figures) -> None:
        line = {"stage": stage, "step": self.step, **{name: round(value, 5) for name, value in means.items()}}
        with closing(Lines(self._metrics)) as out:
            out.add(json.dumps(line).encode() + b"\n")
