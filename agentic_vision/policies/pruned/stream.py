"""What is on its way through the layers? Hidden states, and where each comes from, until a method drops some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(eq=False)
class Stream:
    """The tokens of a batch on their way through the layers.

    `hidden`: rows x width x size; `positions`: the rotary ones, 3 x rows x width; `mask`: rows x width, False where
    a row is padded; `image`: rows x width, the number of the image that a visual token belongs to, -1 elsewhere;
    `tokens`: of each image, before any was dropped; `deepstack`: what is still to be added to `hidden` after each
    of the first layers, rows x width x size, zero where there is no image.
    """

    hidden: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    image: torch.Tensor
    tokens: Sequence[int] = ()
    deepstack: tuple[torch.Tensor, ...] = ()

    def places(self, image: int) -> tuple[int, torch.Tensor]:
        """The row of an image, and the columns of what is left of it, in order."""
        rows, columns = (self.image == image).nonzero(as_tuple=True)
        return int(rows[0]), columns

    def merge(self, row: int, columns: torch.Tensor, joined: torch.Tensor) -> None:
        """Put into every place among `columns` of a row the mean of the tokens that have `joined` it (a place each)."""
        counts = joined.bincount(minlength=len(columns)).clamp(min=1)  # a token that joined another leaves nothing
        for states in (self.hidden, *self.deepstack):
            summed = torch.zeros_like(states[row, columns], dtype=torch.float32)
            summed.index_add_(0, joined, states[row, columns].float())
            states[row, columns] = (summed / counts[:, None]).to(states.dtype)

    def keep(self, kept: torch.Tensor) -> None:
        """Drop all but the `kept` (rows x width), close ranks to the right, and pad on the left again.

        What remains has the rotary positions that it had.
        """
        kept = kept & self.mask
        width = int(kept.sum(dim=1).max())
        order = kept.int().argsort(dim=1, stable=True)[:, -width:]  # what is kept comes last, in its old order
        self.positions = self.positions.gather(2, order.expand(3, -1, -1))
        self.mask, self.image = kept.gather(1, order), self.image.gather(1, order)
        self.image = self.image.masked_fill(~self.mask, -1)
        self.hidden = _taken(self.hidden, order)
        self.deepstack = tuple(_taken(states, order) for states in self.deepstack)


def _taken(states: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    return states.gather(1, order[:, :, None].expand(-1, -1, states.shape[2]))
