"""`python -m agentic_vision.training.warm_start OUT`: trains the embedded checkpoint from nothing, resumably."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress

from .loop import Figures
from .recipe import SEED, warm_start


def train(
    out: Annotated[Path, typer.Argument(help="Folder of the run; one that holds a run is gone on with.")],
    seed: Annotated[int, typer.Option(help="Of the pictures that are drawn.")] = SEED,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train the embedded checkpoint from nothing: OUT gets metrics.jsonl, state.pt and checkpoint/."""
    torch.set_num_threads(threads)
    with Progress() as progress:
        tasks: dict[str, int] = {}

        def report(stage: str, step: int, steps: int, figures: Figures) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=steps)
            progress.update(tasks[stage], completed=step)  # type: ignore[arg-type]
            told = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            progress.console.print(f"{stage} {step}/{steps} {told}", highlight=False, soft_wrap=True)

        folder = warm_start(out, seed=seed, report=report)
    typer.echo(f"checkpoint: {folder}")


if __name__ == "__main__":
    typer.run(train)
