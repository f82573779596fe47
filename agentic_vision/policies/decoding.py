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

from .caches import BatchCache
from .encoding import Chunk, Encoder
from .network import Network, NewTokens, WholeModel
from .sessions import Session


@dataclass(eq=False)
class DecoderRow:
    """One reply in the making. `sampled` ends with a stop id, or is `limit` long, when the row is `done`.

    `log_probs`, where it is a list: of each sampled token at the row's temperature (1 where that is 0), among all
    tokens, those that are never sampled included. That is how training computes them again.
    """

    session: Session
    chunk: Chunk
    limit: int
    temperature: float
    seed: int | None
    sampled: list[int] = field(default_factory=list)
    log_probs: list[float] | None = None
    done: bool = False
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        # On the CPU whatever the model runs on, one number a token: a seed means the same in any batch, on
        # any device.
        self.generator = torch.Generator()
        if self.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(self.seed % 2**63)


class Decoder:
    """A batch of rows on one model. Use it from one thread, under `torch.inference_mode()`."""

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: Collection[int],
        forbidden_ids: Collection[int],
        tokens: int,
        network: Network | None = None,
    ) -> None:
        """`forbidden_ids` are never sampled, nor are ids from `tokens` on: the tokenizer has none. `network`: how
        tokens go through the model; None runs it whole.
        """
        self._model = model
        self._network: Network = network or WholeModel(model)
        self._device: torch.device = model.device
        self._stop = frozenset(stop_ids)
        vocabulary = model.config.get_text_config().vocab_size
        forbidden = sorted({*forbidden_ids, *range(tokens, vocabulary)})
        self._forbidden = torch.tensor(forbidden, dtype=torch.long, device=self._device)
        self.clear()

    def clear(self) -> None:
        """Give up all rows."""
        self.rows: list[DecoderRow] = []
        self._held = BatchCache.nothing(self._network.starts, self._device)
        self._next = torch.zeros(0, dtype=torch.long, device=self._device)  # rows: the next rotary position

    def stops(self, token: int) -> bool:
        """Whether this id ends a reply."""
        return token in self._stop

    def admit(self, rows: Sequence[DecoderRow]) -> None:
        """Run the new tokens and images of `rows` through the model, sample their first tokens, and let them
        join the batch.

        Raises what torch raises; the running rows are then as they were, and the new ones have lost their
        caches.
        """
        held, next_positions, logits = self._read([row.session for row in rows], [row.chunk for row in rows])
        self._sample(rows, logits)
        self._held = BatchCache.together([self._held, held]) if self.rows else held
        self._next = torch.cat([self._next, next_positions.to(self._device)])
        self.rows += rows

    def prefill(self, chunk: Chunk) -> Session:
        """A new session that holds `chunk` and has sampled nothing: what several rows begin with is read once."""
        held, next_positions, _ = self._read([Session()], [chunk])
        return Session(keys_values=held.layers, length=len(chunk.ids), next_position=int(next_positions[0]))

    def step(self) -> None:
        """Every row samples one more token. None may be done."""
        ids = torch.tensor([[row.sampled[-1]] for row in self.rows], device=self._device)
        positions = self._next[None, :, None].expand(3, -1, -1)
        logits = self._network(NewTokens(ids, torch.ones_like(ids, dtype=torch.bool), positions), self._held)
        self._next = self._next + 1
        self._sample(self.rows, logits)

    def _read(
        self, sessions: Sequence[Session], chunks: Sequence[Chunk]
    ) -> tuple[BatchCache, torch.Tensor, torch.Tensor]:
        """Run what is new in several conversations: gives their caches, next positions and last logits."""
        device, size = self._device, len(chunks)
        held = BatchCache.together([self._take(session) for session in sessions])
        width = max(len(chunk.ids) for chunk in chunks)
        ids = torch.zeros(size, width, dtype=torch.long)
        new = torch.zeros(size, width, dtype=torch.bool)
        positions = torch.zeros(3, size, width, dtype=torch.long)
        next_positions = torch.zeros(size, dtype=torch.long)
        for index, (session, chunk) in enumerate(zip(sessions, chunks, strict=True)):
            start = width - len(chunk.ids)
            ids[index, start:] = torch.tensor(chunk.ids)
            new[index, start:] = True
            positions[:, index, start:] = self._positions(chunk) + session.next_position
            next_positions[index] = positions[:, index].max() + 1
        pixels = grids = None
        if images := [chunk.images for chunk in chunks if chunk.images is not None]:
            # In the order of the rows, as their placeholders are.
            pixels = torch.cat([pixels for pixels, _ in images]).to(device)
            grids = torch.cat([grids for _, grids in images]).to(device)
        tokens = NewTokens(ids.to(device), new.to(device), positions.to(device), pixels, grids)
        return held, next_positions, self._network(tokens, held)

    def _take(self, session: Session) -> BatchCache:
        """A session's cache, which the batch owns from now on."""
        layers, session.keys_values = session.keys_values or [], None
        return BatchCache.alone(layers, self._network.starts, self._device)

    def release(self, leaving: Sequence[DecoderRow]) -> None:
        """Let rows leave the batch, their caches going back to their sessions."""
        gone = {id(row) for row in leaving}
        kept = [index for index, row in enumerate(self.rows) if id(row) not in gone]
        for index, row in enumerate(self.rows):
            if id(row) in gone:  # `select` copies: the batch's spare columns do not stay with the session
                row.session.keys_values = self._held.select(self._indices([index])).layers
                row.session.length += len(row.chunk.ids) + len(row.sampled) - 1
                row.session.next_position = int(self._next[index])
        if not kept:
            self.clear()
            return
        stay = self._indices(kept)
        self._held, self._next = self._held.select(stay), self._next[stay]
        self.rows = [self.rows[index] for index in kept]

    def _indices(self, rows: list[int]) -> torch.Tensor:
        return torch.tensor(rows, device=self._device)

    def _positions(self, chunk: Chunk) -> torch.Tensor:
        """Rotary positions (3 x tokens) of a chunk, from 0, by the model's own rule."""
        ids = torch.tensor([chunk.ids])
        kinds = (ids == self._model.config.image_token_id).int()  # 0 text, 1 image
        positions, _ = self._model.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=chunk.images and chunk.images[1]
        )
        of_one: torch.Tensor = positions[:, 0]
        return of_one

    def _sample(self, rows: Sequence[DecoderRow], logits: torch.Tensor) -> None:
        raw = logits
        logits = logits.index_fill(1, self._forbidden, float("-inf"))
        chosen = logits.argmax(dim=1)
        warm = [index for index, row in enumerate(rows) if row.temperature > 0]
        if warm:
            indices, wide = self._indices(warm), torch.float64
            # Apple's GPUs have no float64. Elsewhere the logits stay where they are: a vocabulary is long to copy.
            place = torch.device("cpu") if self._device.type == "mps" else self._device
            temperatures = torch.tensor([[rows[index].temperature] for index in warm], dtype=wide, device=place)
            drawn = torch.stack([torch.rand(1, dtype=wide, generator=rows[index].generator) for index in warm])
            cumulative = torch.softmax(logits[indices].to(place).double() / temperatures, dim=1).cumsum(dim=1)
            # Where the running sum passes the number drawn, which is scaled by the last sum: rounding leaves
            # that beside 1.
            drawn = drawn.to(place) * cumulative[:, -1:]
            tokens = torch.searchsorted(cumulative, drawn, right=True).squeeze(1)
            chosen[indices] = tokens.clamp(max=logits.shape[1] - 1).to(self._device)
        self._note_log_probs(rows, raw, chosen)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.sampled.append(token)
            row.done = token in self._stop or len(row.sampled) >= row.limit

    @staticmethod
    def _note_log_probs(rows: Sequence[DecoderRow], logits: torch.Tensor, chosen: torch.Tensor) -> None:
        asked = [index for index, row in enumerate(rows) if row.log_probs is not None]
        if not asked:
            return
        temperatures = torch.tensor([[rows[index].temperature or 1.0] for index in asked], device=logits.device)
        indices = torch.tensor(asked, device=logits.device)
        sampled = (logits[indices] / temperatures).log_softmax(dim=1).gather(1, chosen[indices, None])
        for index, value in zip(asked, sampled.squeeze(1).tolist(), strict=True):
            log_probs = rows[index].log_probs
            assert log_probs is not None
            log_probs.append(value)


def decoder_for(model: Any, tokenizer: Any, encoder: Encoder, network: Network | None = None) -> Decoder:
    """The decoder of a checkpoint: it stops where the model or its chat template does."""
    known = model.generation_config.eos_token_id
    ends = {*(known if isinstance(known, list) else [known]), tokenizer.eos_token_id, encoder.turn_end_id()}
    return Decoder(
        model,
        stop_ids=ends - {None},
        forbidden_ids=encoder.vision_ids,
        tokens=len(tokenizer),
        network=network,
    )
