"""Trajectories of training runs, as cards of the gallery: the same kind of questions, earlier and later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from ..evaluation.outcomes import Outcome
from .training_runs import RunGroup

SAMPLES = "samples.jsonl"
STEPS = 4  # of one run are shown; of several, the first and the last


def strategy_of(step: int) -> str:
    """The strategy under which a step's trajectories stand in `samples.jsonl`."""
    return f"step {step}"


def step_of(strategy: str) -> int:
    """The step again. Raises `ValueError` where it is none's."""
    return int(strategy.removeprefix("step "))


def sampled(groups: Sequence[RunGroup]) -> dict[str, list[Outcome]]:
    """Outcomes with their trajectories, by run and step."""
    runs = [
        (group.name if len(group.runs) == 1 else f"{group.name}/{run.folder.name}", run.folder)
        for group in groups
        for run in group.runs
    ]
    found: dict[str, list[Outcome]] = {}
    for name, folder in runs:
        steps: dict[str, list[Outcome]] = {}
        for outcome in _outcomes(folder / SAMPLES):
            steps.setdefault(outcome.strategy, []).append(outcome)
        for step in _spread(list(steps), STEPS if len(runs) == 1 else 2):
            found[f"{name}, {step}"] = steps[step]
    return found


def _spread(steps: Sequence[str], most: int) -> list[str]:
    """At most so many of them, the first and the last included."""
    places = {round(n * (len(steps) - 1) / (most - 1)) for n in range(most)} if steps else set()
    return [steps[place] for place in sorted(places)]


def _outcomes(path: Path) -> Iterator[Outcome]:
    """What can be read of a file that is perhaps being written, or that a kill cut short."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield Outcome.model_validate_json(line)
            except ValidationError:
                continue
