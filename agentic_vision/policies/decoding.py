"""How are several conversations decoded together, each as if it were alone?

The rows of a batch have caches of different lengths and add different numbers of tokens. Both are padded on
the left and the padding is masked, so a row reads `[padding, past, padding, new tokens, sampled tokens]`;
rotary positions are given for every token (the model's own M-RoPE), so padding moves nothing. Rows join a
running batch after their own prefill and leave it when they end. torch only: no thread, no text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from .encoding import Chunk
from .sessions import Session


@dataclass(eq=False)
class Row:
    """One reply in the making. `sampled` ends with a stop id, or is `limit` long, when the row is `done`."""

    session: Session
    chunk: Chunk
    limit: int
    temperature: float
    seed: int | None
    sampled: list[int] = field(default_factory=list)
    done: bool = False
    dice: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        # On the CPU whatever the model runs on, one number a token: a seed means the same in any batch, on
        # any device.
        self.dice = torch.Generator()
        if self.seed is None:
            self.dice.seed()
        else:
            self.dice.manual_seed(self.seed % 2**63)


class Decoder:
    """A batch of rows on one model. Use it from one thread, under `torch.inference_mode()`."""

    def __init__(
        self, model: Any, *, stop_ids: Collection[int], forbidden_ids: Collection[int], tokens: int
    ) -> None:
        """`forbidden_ids` are never sampled, nor are ids from `tokens` on: the tokenizer has none."""
        self._model = model
        self._device: torch.device = model.device
        self._stop = frozenset(stop_ids)
        vocabulary = model.config.get_text_config().vocab_size
        forbidden = sorted({*forbidden_ids, *range(tokens, vocabulary)})
        self._forbidden = torch.tensor(forbidden, dtype=torch.long, device=self._device)
        self.clear()

    def clear(self) -> None:
        """Give up all rows."""
        self.rows: list[Row] = []
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows x heads x columns x head size
        self._mask = torch.ones(0, 0, dtype=torch.bool, device=self._device)  # rows x columns: no padding
        self._next = torch.zeros(0, dtype=torch.long, device=self._device)  # rows: the next rotary position

    def stops(self, token: int) -> bool:
        """Whether this id ends a reply."""
        return token in self._stop

    def admit(self, rows: Sequence[Row]) -> None:
        """Run the new tokens and images of `rows` through the model, sample their first tokens, and let them
        join the batch.

        Raises what torch raises; the running rows are then as they were, and the new ones have lost their
        caches.
        """
        size = len(rows)
        layers, mask = _merge([_take(row.session, self._device) for row in rows])
        width = max(len(row.chunk.ids) for row in rows)
        ids = torch.zeros(size, width, dtype=torch.long)
        new = torch.zeros(size, width, dtype=torch.bool)
        positions = torch.zeros(3, size, width, dtype=torch.long)
        following = torch.zeros(size, dtype=torch.long)
        for index, row in enumerate(rows):
            start = width - len(row.chunk.ids)
            ids[index, start:] = torch.tensor(row.chunk.ids)
            new[index, start:] = True
            place = self._positions(row.chunk) + row.session.next_position
            positions[:, index, start:] = place
            following[index] = place.max() + 1
        mask = torch.cat([mask, new.to(self._device)], dim=1)
        images = [row.chunk for row in rows if row.chunk.pixels is not None]
        vision = {}
        if images:  # in the order of the rows, as their placeholders are
            vision["pixel_values"] = torch.cat([chunk.pixels for chunk in images]).to(self._device)  # type: ignore[misc]
            vision["image_grid_thw"] = torch.cat([chunk.grids for chunk in images]).to(self._device)  # type: ignore[misc]
        logits, layers = self._forward(
            ids.to(self._device), positions.to(self._device), mask, layers, **vision
        )
        self._sample(rows, logits)
        if self.rows:
            layers, mask = _merge([(self._layers, self._mask), (layers, mask)])
        self._layers, self._mask = layers, mask
        self._next = torch.cat([self._next, following.to(self._device)])
        self.rows += rows

    def step(self) -> None:
        """Every row samples one more token. None may be done."""
        ids = torch.tensor([[row.sampled[-1]] for row in self.rows], device=self._device)
        positions = self._next[None, :, None].expand(3, -1, -1)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        logits, self._layers = self._forward(ids, positions, self._mask, self._layers)
        self._next = self._next + 1
        self._sample(self.rows, logits)

    def release(self, leaving: Sequence[Row]) -> None:
        """Let rows leave the batch, their caches going back to their sessions."""
        gone = {id(row) for row in leaving}
        for index, row in enumerate(self.rows):
            if id(row) in gone:
                self._give_back(index, row)
        kept = [index for index, row in enumerate(self.rows) if id(row) not in gone]
        if not kept:
            self.clear()
            return
        select = torch.tensor(kept, device=self._device)
        columns = (
            self._mask[select].any(dim=0).nonzero().squeeze(1)
        )  # those that are padding in all that stay can go
        self._mask = self._mask[select][:, columns]
        self._layers = [(k[select][:, :, columns], v[select][:, :, columns]) for k, v in self._layers]
        self._next = self._next[select]
        self.rows = [self.rows[index] for index in kept]

    def _give_back(self, index: int, row: Row) -> None:
        own = self._mask[index]
        if len(self.rows) == 1 and bool(own.all()):
            row.session.keys_values = self._layers
        else:
            row.session.keys_values = [
                (k[index : index + 1, :, own], v[index : index + 1, :, own]) for k, v in self._layers
            ]
        row.session.next_position = int(self._next[index])

    def _positions(self, chunk: Chunk) -> torch.Tensor:
        """Rotary positions (3 x tokens) of a chunk, from 0, by the model's own rule."""
        ids = torch.tensor([chunk.ids])
        kinds = (ids == self._model.config.image_token_id).int()  # 0 text, 1 image
        positions, _ = self._model.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=chunk.grids
        )
        found: torch.Tensor = positions[:, 0]
        return found

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        layers: list[tuple[torch.Tensor, torch.Tensor]],
        **vision: torch.Tensor,
    ) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        """Logits (rows x vocabulary, fp32) after the last of `ids` (rows x tokens), and the caches grown by
        them.
        """
        cache: Any = DynamicCache(layers or None)
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=None
            if bool(mask.all())
            else mask,  # without padding, attention needs no mask at all
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **vision,
        )
        return output.logits[:, -1].float(), [(layer.keys, layer.values) for layer in cache.layers]

    def _sample(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        logits = logits.index_fill(1, self._forbidden, float("-inf"))
        chosen = logits.argmax(dim=1)
        warm = [index for index, row in enumerate(rows) if row.temperature > 0]
        if warm:
            heat = torch.tensor(
                [rows[index].temperature for index in warm], dtype=torch.float64, device=self._device
            )
            dice = torch.cat(
                [torch.rand(1, dtype=torch.float64, generator=rows[index].dice) for index in warm]
            )
            picked = torch.tensor(warm, device=self._device)
            heights = torch.softmax(logits[picked].double() / heat[:, None], dim=1).cumsum(dim=1)
            # Where the running sum passes the number drawn. Scaled by the last sum, which rounding leaves
            # beside 1.
            drawn = dice.to(self._device)[:, None] * heights[:, -1:]
            chosen[picked] = (
                torch.searchsorted(heights, drawn, right=True).squeeze(1).clamp_(max=logits.shape[1] - 1)
            )
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.sampled.append(token)
            row.done = token in self._stop or len(row.sampled) >= row.limit


def _take(
    session: Session, device: torch.device
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """A session's cache, which the batch owns from now on, and its mask."""
    layers, session.keys_values = session.keys_values or [], None
    columns = layers[0][0].shape[2] if layers else 0
    return layers, torch.ones(1, columns, dtype=torch.bool, device=device)


def _merge(
    parts: Sequence[tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]],
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """One batch of several: columns padded on the left to the widest."""
    if len(parts) == 1:
        return parts[0]
    width = max(mask.shape[1] for _, mask in parts)
    mask = torch.cat([torch.nn.functional.pad(mask, (width - mask.shape[1], 0)) for _, mask in parts])
    model = next((layers for layers, _ in parts if layers), [])
    merged = []
    for depth, (keys, values) in enumerate(model):
        pair = []
        for place, like in ((0, keys), (1, values)):
            whole = like.new_zeros(mask.shape[0], like.shape[1], width, like.shape[3])
            row = 0
            for layers, own in parts:
                if layers:
                    whole[row : row + own.shape[0], :, width - own.shape[1] :] = layers[depth][place]
                row += own.shape[0]
            pair.append(whole)
        merged.append((pair[0], pair[1]))
    return merged, mask
