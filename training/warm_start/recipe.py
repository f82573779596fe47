"""How the embedded checkpoint is made, stage by stage: with `SEED` this is the run that made the one in the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from .answering import Answering
from .architecture import build_model, save_checkpoint
from .curves import draw_curves
from .loop import Figures, Stage, StagedRun
from .optimizer import Trained
from .reading import CellHeads, print_lesson, reading_lesson
from .trees import Mix

SEED = 7

PRINT = Stage("print", print_lesson, steps=1000, muon=1.2e-2, adamw=2e-3, decay_from=0.5, floor=0.4)
READ = Stage("read", reading_lesson, steps=2200, muon=8e-3, adamw=1.5e-3, decay_from=0.4, floor=0.1)
FIND = Stage(
    "find",
    Mix(crops=20, glances=3, fulls=1, questions=12, second=2, parts=16, groups=4),
    steps=400,
    muon=8e-3,
    adamw=2e-3,
    floor=0.7,
    pace=0.0,
    cells=0.0,
    gaze=0.5,
    sharpen=6,
)
LOOK = Stage(
    "look",
    Mix(crops=6, glances=6, fulls=4, questions=14, second=2, parts=8, groups=4),
    steps=600,
    muon=6e-3,
    adamw=1.5e-3,
    warmup=30,
    decay_from=0.85,
    floor=1 - 0.98 * 90 / 1190,
    gaze=0.5,
    blur=0.4,
    sharpen=4,
)
SETTLE = Stage(
    "settle",
    Mix(crops=6, glances=5, fulls=3, questions=14, second=2, groups=3),
    steps=1100,
    muon=5.5e-3,
    adamw=1.4e-3,
    warmup=30,
    gaze=0.5,
    blur=0.4,
    sharpen=4,
)


OnStep = Callable[[str, int, int, Figures], None]


def warm_start(
    out: Path,
    stages: tuple[Stage, ...] = (PRINT, READ, FIND, LOOK, SETTLE),
    seed: int = SEED,
    *,
    ahead: int = 6,
    report: OnStep | None = None,
) -> Path:
    """Trains the embedded model from nothing, or goes on with what `out` holds; returns the checkpoint's folder.

    `out` gets `metrics.jsonl` (a line every 20 steps), `curves.png`, `state.pt` (to go on from) and `checkpoint/`.
    """

    def told(stage: str, step: int, steps: int, figures: Figures) -> None:
        if step % 200 == 0 or step == steps:
            draw_curves(out)
        if report:
            report(stage, step, steps, figures)

    model = build_model(0)
    torch.manual_seed(1)
    tower = model.model.visual
    heads = CellHeads(tower.config.out_hidden_size)
    run = StagedRun(out, {"model": model, "heads": heads}, seed, ahead=ahead)
    for stage in stages:
        if stage.name in (PRINT.name, READ.name):
            run.stage(
                stage,
                lambda sight: heads(tower(sight.patches, grid_thw=sight.grid).pooler_output, sight),
                [Trained(tower), Trained(heads)],
                report=told,
            )
        else:
            tower_too = [Trained(tower, pace=stage.pace), Trained(heads)] if stage.cells else []
            run.stage(
                stage,
                Answering(model, heads, cells=stage.cells, gaze=stage.gaze, blur=stage.blur),
                [*tower_too, Trained(model, sharpen=stage.sharpen)],
                report=told,
            )
    folder = out / "checkpoint"
    save_checkpoint(model, folder)
    return folder
