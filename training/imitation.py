"""Supervised fine-tuning on the oracle's decisions: what reinforcement learning is compared with.

The oracle takes the cheapest sufficient look, and answers right. Its trajectories run through the graph of inference
and become tokens as verl's rollouts do; the model then learns to write its turns.

    python -m agentic_vision.training.imitation POCKET OUT --rows 1200
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import torch
import typer
from rich.progress import track

from agentic_vision.errors import ConfigError
from agentic_vision.evaluation.strategies import strategy
from agentic_vision.policies.encoding import Piece, encoder_for
from agentic_vision.policies.trained_for import TrainedFor
from agentic_vision.policies.weights import Weights, load_weights
from agentic_vision.protocol import write
from agentic_vision.rows import Row, read_rows
from agentic_vision.source import Source
from agentic_vision.view import View
from agentic_vision.visual_tokens import Family, family

from . import recipe as recipes
from .launch import model_folder
from .recipe import Recipe
from .verl.rollout import RolloutPolicy, TokenTrajectory
from .warm_start.architecture import ANSWER_THOUGHT


class Oracle:
    """Makes the oracle's trajectory of a row, in tokens."""

    def __init__(self, recipe: Recipe, weights: Weights) -> None:
        self._recipe = recipe
        settings = recipe.agent
        self._family: Family = family(settings.family) if settings.family else weights.family
        self._encoder = encoder_for(weights.tokenizer, weights.image_processor, weights.model.config)
        self._says: Iterator[str] = iter(())
        self._policy = RolloutPolicy(
            server=self,
            encoder=self._encoder,
            family=self._family,
            style=settings.style,
            sampling={},
            prompt_length=recipe.prompt_length,
            response_length=recipe.response_length,
            max_new_tokens=settings.max_new_tokens,
        )
        self._plan = strategy("oracle").plan
        self._agent = settings.agent(self._policy)

    async def generate(self, request_id: str, **asked: Any) -> Any:  # noqa: ARG002
        """As verl's server: the next turn, sampled by nobody."""
        ids = self._encoder.token_ids([Piece("reply", next(self._says))], [], {})
        ids += self._encoder.turn_end_ids[:1]
        return SimpleNamespace(token_ids=ids, log_probs=[0.0] * len(ids), extra_fields={})

    def record(self, row: Row) -> TokenTrajectory:
        """The trajectory of `row`. Raises `ConfigError` where the row does not say what is sufficient."""
        size = Source.open(row.images[0]).size
        script = self._plan(row).script
        answer = write(thought=ANSWER_THOUGHT, answer=row.answer)
        glance = View.whole(size, self._family.glance(size, self._recipe.agent.glance).size)
        calls = [script.text(glance, self._family, len(row.images))] if script else []
        self._says = iter([*calls, answer])
        result = asyncio.run(self._agent.aask(list(row.images), row.prompt))
        if result.answer is None:
            raise ConfigError(f"{row.id}: the oracle gave no answer ({result.trajectory.detail})")
        return self._policy.take(result.trajectory.id)


def imitate(
    rows: Sequence[Row],
    recipe: Recipe,
    weights: Weights,
    out: Path,
    *,
    batch: int = 32,
    learning_rate: float = 1e-4,
) -> Path:
    """Trains `weights` on the oracle's turns over `rows`, once; gives the policy's folder.

    `out`/imitation.jsonl gets a line a step: `step`, `loss` (nats a token), `seconds`. Raises `ConfigError` for fewer
    rows than a batch has.
    """
    if len(rows) < batch:
        raise ConfigError(f"{len(rows)} rows are no step of {batch}: give more (--rows), or a smaller --batch")
    oracle = Oracle(recipe, weights)
    model = weights.model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in recipe.frozen))
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=learning_rate, weight_decay=0.01)
    out.mkdir(parents=True, exist_ok=True)
    order = random.Random(recipe.seed).sample(list(rows), len(rows))
    starts = range(0, len(order) - batch + 1, batch)
    with (out / "imitation.jsonl").open("w", encoding="utf-8") as log:
        for step, start in enumerate(track(starts, "imitating", transient=True), 1):
            begun, total = time.monotonic(), 0.0
            for row in order[start : start + batch]:
                loss = _loss(oracle.record(row), weights) / batch
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            log.write(json.dumps({"step": step, "loss": total, "seconds": time.monotonic() - begun}) + "\n")
            log.flush()
    folder = out / "policy"
    for part in (model.eval(), weights.tokenizer, weights.image_processor):
        part.save_pretrained(folder)
    agent = recipe.agent
    TrainedFor(style=agent.style, family=agent.family, max_new_tokens=agent.max_new_tokens).write(folder)
    return folder


def _loss(record: TokenTrajectory, weights: Weights) -> torch.Tensor:
    """Cross-entropy of the oracle's tokens, in nats a token."""
    model = weights.model
    features = weights.image_processor(images=record.images, return_tensors="pt").to(model.device)
    ids = torch.tensor([record.ids], device=model.device)
    kinds = (ids == model.config.image_token_id).int()
    grids = features["image_grid_thw"]
    positions, _ = model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)
    own = torch.tensor([0] * record.prompt + record.mask, dtype=torch.bool, device=model.device)
    logits = model(
        input_ids=ids,
        position_ids=positions,
        pixel_values=features["pixel_values"],
        image_grid_thw=grids,
        use_cache=False,
    ).logits[0, :-1]
    loss: torch.Tensor = torch.nn.functional.cross_entropy(logits[own[1:]].float(), ids[0, 1:][own[1:]])
    return loss


def main(
    data: Annotated[Path, typer.Argument(help="Rows that say what is sufficient, such as PocketVQA's.")],
    out: Annotated[Path, typer.Argument(help="The folder of the policy.")],
    recipe: Annotated[str, typer.Option(help="Whose model and agent it is.")] = "pocket_cpu",
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 1200,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 1e-4,
) -> None:
    """Fine-tune a policy on the oracle's decisions."""
    plan_ = recipes.read(recipe)
    with model_folder(plan_) as folder:
        weights = load_weights(folder, None, "float32")
    print(imitate(read_rows(data)[:rows], plan_, weights, out, batch=batch, learning_rate=learning_rate))


if __name__ == "__main__":
    typer.run(main)
