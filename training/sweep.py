"""Several runs that differ in one thing, each with several seeds, and one picture of them all.

A sweep is a YAML file: `recipe`, `changes` to it that all share, `seeds`, and `variants`: a name -> its own changes. It
is resumed as its runs are: run the same command again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentic_vision.errors import ConfigError
from agentic_vision.report.metrics import Figures

from . import recipe as recipes
from .curves import draw_curves
from .launch import launch
from .plans import read_plan
from .recipe import Recipe

SWEEPS = Path(__file__).parent / "sweeps"


class Sweep(BaseModel):
    """What is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    recipe: str
    changes: list[str] = []
    seeds: list[int] = Field(min_length=1)
    variants: dict[str, list[str]] = Field(min_length=1)

    def runs(self, out: Path, changes: list[str]) -> dict[Path, Recipe]:
        """The folder and the recipe of every run, a seed of every variant before the next seed."""
        return {
            out / name / f"seed-{seed}": recipes.read(self.recipe, [*self.changes, *own, *changes, f"seed={seed}"])
            for seed in self.seeds
            for name, own in self.variants.items()
        }


def read(name_or_path: str) -> Sweep:
    """The sweep of this name or in this file. Raises `ConfigError` for an unknown or a broken one."""
    name, said = read_plan(SWEEPS, name_or_path, "sweep")
    try:
        return Sweep.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"the sweep {name} cannot have {where}: {first['msg'].lower()}") from error


def run_sweep(
    sweep: Sweep,
    out: Path,
    changes: list[str],
    report: Callable[[Path, int, Figures], None] | None = None,
) -> Path:
    """Every run of `sweep` in `out`, one after the other; gives the picture, which is drawn anew after each."""
    runs = sweep.runs(out, changes)
    picture = out / "curves.png"
    for folder, plan in runs.items():
        launch(plan, folder, partial(report, folder) if report else None)
        begun = [out / name for name in sweep.variants if (out / name).is_dir()]
        draw_curves(begun, picture)
    return picture
