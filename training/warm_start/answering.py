"""What is lost when the second lesson's questions are answered: words, and beside them labels of cells and the gaze."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration

from .architecture import COORDINATE_STEP, build_tokenizer, token_id
from .dialogue import Lesson
from .gaze import Gaze
from .reading import CellHeads

JUDGED = 1.0
"""Tokens of this weight and more have to be right for a branch to be right."""


class Answering:
    """Loss of a lesson: the weighted answers, and beside them the cells' labels and where the model looks."""

    def __init__(
        self, model: Qwen3VLForConditionalGeneration, heads: CellHeads, *, cells: float, gaze: float, blur: float = 0.0
    ) -> None:
        """`cells`, `gaze`: weights of what stands beside the answers; without `cells` the tower does not learn.

        `blur`: how much of a coordinate's target its two neighbours share, for a box one step off is nearly right.
        """
        self.model, self.heads, self.cells, self.gaze, self.blur = model, heads, cells, gaze, blur
        tokenizer = build_tokenizer()
        self._image = token_id("<|image_pad|>")
        self._coordinates = torch.full((len(tokenizer),), float("nan"))
        self._neighbours = torch.arange(len(tokenizer))[:, None].repeat(1, 2)
        values = range(0, 1001, COORDINATE_STEP)
        for form in ("{},", " {},", " {}"):
            ids = torch.tensor([token_id(form.format(value)) for value in values])
            self._coordinates[ids] = torch.tensor(values, dtype=torch.float)
            self._neighbours[ids[1:], 0] = ids[:-1]
            self._neighbours[ids[:-1], 1] = ids[1:]

    def __call__(self, lessons: list[Lesson]) -> tuple[torch.Tensor, dict[str, float]]:
        total, weight = torch.zeros(()), 0.0
        beside = torch.zeros(())
        hits: dict[str, list[float]] = {}
        told: dict[str, list[float]] = {}
        for lesson in lessons:
            with Gaze(self.model.model.language_model) as gaze:
                logits, targets, weights, branches, seen = self._forward(lesson)
            total = total + (self._losses(logits, targets) * weights).sum()
            weight += float(weights.sum())
            figures: dict[str, float] = {}
            if self.cells:
                loss, figures = self.heads(seen, lesson.sight)
                beside = beside + self.cells * loss / len(lessons)
            if self.gaze:
                astray, figures["gaze"] = gaze.astray(lesson)
                beside = beside + self.gaze * astray / len(lessons)
            for name, value in figures.items():
                if value == value:  # a lesson without such a thing has no figure
                    told.setdefault(name, []).append(value)
            self._judge(lesson.topics, self._right(logits.argmax(-1), targets), weights, branches, hits)
        return total / weight + beside, {name: sum(values) / len(values) for name, values in (told | hits).items()}

    def _forward(self, lesson: Lesson) -> tuple[torch.Tensor, ...]:
        inner = self.model.model
        with torch.set_grad_enabled(self.cells > 0 and torch.is_grad_enabled()):
            seen = inner.visual(lesson.sight.patches, grid_thw=lesson.sight.grid)
        embeds = inner.get_input_embeddings()(lesson.ids)
        pictures = lesson.ids.eq(self._image)
        embeds = embeds.masked_scatter(pictures[..., None], seen.pooler_output)
        hidden = inner.language_model(
            inputs_embeds=embeds,
            position_ids=lesson.positions,
            attention_mask=lesson.mask,
            visual_pos_masks=pictures,
            deepstack_visual_embeds=seen.deepstack_features,
            use_cache=False,
        ).last_hidden_state
        row, column = (lesson.weights > 0).nonzero(as_tuple=True)
        logits = self.model.lm_head(hidden[row, lesson.sources[row, column]])
        branches = lesson.branch[row, column]
        return logits, lesson.ids[row, column], lesson.weights[row, column], branches, seen.pooler_output

    def _losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses = F.cross_entropy(logits, targets, reduction="none")
        if not self.blur:
            return losses
        near = -logits.log_softmax(-1).gather(1, self._neighbours[targets]).mean(1)
        return (1 - self.blur) * losses + self.blur * near

    def _right(self, said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Whether each token is right; a coordinate also if it is off by so little that the box holds the evidence."""
        near = (self._coordinates[said] - self._coordinates[wanted]).abs() <= 2 * COORDINATE_STEP
        return (said == wanted) | near

    @staticmethod
    def _judge(
        topics: list[str],
        right: torch.Tensor,
        weights: torch.Tensor,
        branches: torch.Tensor,
        hits: dict[str, list[float]],
    ) -> None:
        judged = weights >= JUDGED
        wrong = set(branches[judged & ~right].tolist())
        for number in set(branches[judged].tolist()):
            if topics[number]:
                hits.setdefault(topics[number], []).append(number not in wrong)
