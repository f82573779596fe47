"""Do text, image tokens, pixels, positions and mask of a trajectory agree? The first place where they do not.

verl makes pixels and positions of a trajectory anew, from its ids and images. If anything has shifted against the ids,
training goes on, and learns from what the policy never saw.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agentic_vision.policies.encoding import Encoder
from agentic_vision.visual_tokens import Family

from .rollout import TokenTrajectory

IMAGE = "\ufffc"  # Unicode's own mark for an object among text
AROUND = 24  # characters shown on either side of a place


@dataclass(frozen=True)
class Disagreement:
    """`what`: text, image tokens, features, positions or mask. `at`: index of the token, the image or the character."""

    what: str
    at: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what} disagree at {self.at}: expected {self.expected}, found {self.found}"


def disagreement(
    record: TokenTrajectory, encoder: Encoder, family: Family, processor: Any, turns: Sequence[str]
) -> Disagreement | None:
    """The first disagreement in `record`; None where all is well.

    `processor`: verl's, which makes the pixels for training. `turns`: the raw texts of the model's turns.
    """
    checks = (
        _text(record, encoder),
        _image_tokens(record, encoder, family),
        _features(record, encoder, processor),
        _positions(record, encoder, processor),
        _mask(record, encoder, turns),
    )
    return next(itertools.chain.from_iterable(checks), None)


def _text(record: TokenTrajectory, encoder: Encoder) -> Iterator[Disagreement]:
    """What the ids say is what the chat template renders of the whole conversation."""
    said = [IMAGE if piece.kind == "image" else piece.text for piece in record.pieces]
    wanted = "".join(said) + encoder.decode(encoder.turn_end_ids)
    found = "".join(
        IMAGE if image else encoder.decode(list(ids))
        for image, ids in itertools.groupby(record.ids, lambda token: token == encoder.image_id)
    )
    if wanted != found:
        at = len(os.path.commonprefix([wanted, found]))  # noqa: RUF071 (of characters, not of paths)
        near = slice(max(0, at - AROUND), at + AROUND)
        yield Disagreement("text", at, repr(wanted[near]), repr(found[near]))


def _image_tokens(record: TokenTrajectory, encoder: Encoder, family: Family) -> Iterator[Disagreement]:
    """Every image has as many tokens as its size costs, in order."""
    runs = [len(list(run)) for image, run in itertools.groupby(record.ids, lambda t: t == encoder.image_id) if image]
    costs = [family.tokens(image.size) for image in record.images]
    for number, (cost, run) in enumerate(itertools.zip_longest(costs, runs)):
        if cost != run:
            yield Disagreement("image tokens", number, str(cost), str(run))


def _features(record: TokenTrajectory, encoder: Encoder, processor: Any) -> Iterator[Disagreement]:
    """The pixels that training makes of an image are as many as its tokens stand for."""
    drawn = processor.image_processor(images=record.images, return_tensors="pt")["image_grid_thw"]
    features = (drawn.prod(-1) // processor.image_processor.merge_size**2).tolist()
    runs = [len(list(run)) for image, run in itertools.groupby(record.ids, lambda t: t == encoder.image_id) if image]
    for number, (feature, run) in enumerate(itertools.zip_longest(features, runs)):
        if feature != run:
            yield Disagreement("features", number, str(run), str(feature))


def _positions(record: TokenTrajectory, encoder: Encoder, processor: Any) -> Iterator[Disagreement]:
    """Text moves on by one position a token, an image by its longer side, as the model's own rule has it."""
    import torch

    ids = torch.tensor([record.ids])
    grids = processor.image_processor(images=record.images, return_tensors="pt")["image_grid_thw"]
    kinds = (ids == encoder.image_id).int()
    rows, _ = processor.get_rope_index(
        input_ids=ids, attention_mask=torch.ones_like(ids), image_grid_thw=grids, mm_token_type_ids=kinds
    )
    if rows.shape[-1] != len(record.ids):
        yield Disagreement("positions", 0, f"{len(record.ids)} of them", str(rows.shape[-1]))
        return
    merge = processor.image_processor.merge_size
    sides = iter(max(int(height), int(width)) // merge for _, height, width in grids.tolist())
    at = 0
    first = 0
    for image, tokens in itertools.groupby(record.ids, lambda token: token == encoder.image_id):
        length = len(list(tokens))
        found = int(rows[:, 0, first].max())
        if found != at:
            yield Disagreement("positions", first, str(at), str(found))
            return
        at += next(sides) if image else length
        first += length


def _mask(record: TokenTrajectory, encoder: Encoder, turns: Sequence[str]) -> Iterator[Disagreement]:
    """The mask marks the model's turns, each with the token that ended it, and nothing else."""
    response = record.response
    if not len(response) == len(record.mask) == len(record.log_probs):
        yield Disagreement("mask", len(record.mask), f"{len(response)} entries", f"{len(record.mask)}")
    spans = [list(run) for own, run in itertools.groupby(range(len(record.mask)), lambda n: record.mask[n] == 1) if own]
    for number, (turn, span) in enumerate(itertools.zip_longest(turns, spans)):
        ids = [response[n] for n in span or ()]
        if ids and ids[-1] in encoder.ending_ids:
            ids = ids[:-1]
        found = encoder.decode(ids) if span else None
        if turn != found:
            yield Disagreement("mask", number, repr(turn), repr(found))
