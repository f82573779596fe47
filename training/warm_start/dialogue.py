"""Many questions about one picture as one sequence: a root with the picture, and a branch for each question.

A branch sees the root and itself, never its siblings, at the positions that it would have alone: the model learns from
the very inputs that it meets in use, and the picture is paid for once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .architecture import build_tokenizer, token_id
from .cells import Window
from .reading import Sight, pack

IGNORED = 0.0


@dataclass(frozen=True)
class Look:
    """Where a token is read from: cells of the root's picture, or of the branch's own last one."""

    own: bool
    area: tuple[int, ...]  # the cells of the evidence
    spot: tuple[int, ...]  # of these, the ones of this token's own character; the area where it has none


@dataclass
class Branch:
    """Tokens with what each weighs in the loss (as a target) and where it is read from, and the pictures among them."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    looks: list[Look | None] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    topic: str = ""
    """What its figure is called, such as `fine_full`; the judged tokens are those that weigh 1 or more."""

    def text(self, text: str, weight: float = IGNORED, looks: Sequence[Look] = ()) -> Branch:
        """Adds `text`; of `looks` there is one a token, or none."""
        ids = build_tokenizer()(text, add_special_tokens=False)["input_ids"]
        self.ids += ids
        self.weights += [weight] * len(ids)
        self.looks += list(looks) if len(looks) == len(ids) else [None] * len(ids)
        return self

    def picture(self, window: Window) -> Branch:
        cells = math.prod(window.cells)
        self.text("<|vision_start|>")
        self.ids += [token_id("<|image_pad|>")] * cells
        self.weights += [IGNORED] * cells
        self.looks += [None] * cells
        self.windows.append(window)
        return self.text("<|vision_end|>")


@dataclass
class Tree:
    """A picture's conversations: what they share, and how each goes on."""

    root: Branch
    branches: list[Branch]


def _picture(branch: Branch) -> int:
    """Index of the first cell of the branch's last picture."""
    image = token_id("<|image_pad|>")
    last = len(branch.ids) - 1 - branch.ids[::-1].index(image)
    height, width = branch.windows[-1].cells
    return last - height * width + 1


def _positions(branch: Branch, start: int) -> tuple[np.ndarray, int]:
    """M-RoPE positions (3, tokens) as Qwen3-VL counts them, and the next free position."""
    image = token_id("<|image_pad|>")
    columns: list[np.ndarray] = []
    windows = iter(branch.windows)
    at, i = start, 0
    while i < len(branch.ids):
        if branch.ids[i] != image:
            columns.append(np.full((3, 1), at))
            at, i = at + 1, i + 1
            continue
        height, width = next(windows).cells
        rows, across = np.divmod(np.arange(height * width), width)
        columns.append(np.stack([np.full(height * width, at), at + rows, at + across]))
        at, i = at + max(height, width), i + height * width
    return np.concatenate(columns, axis=1), at


@dataclass(frozen=True)
class Lesson:
    """Trees padded to one length: what the model and the loss need."""

    ids: torch.Tensor  # (trees, tokens)
    positions: torch.Tensor  # (3, trees, tokens)
    mask: torch.Tensor  # (trees, 1, tokens, tokens) True where a token is seen
    weights: torch.Tensor  # (trees, tokens): of token i as the target of its predecessor in its branch
    sources: torch.Tensor  # (trees, tokens): index of that predecessor
    branch: torch.Tensor  # (trees, tokens): number of the branch, -1 elsewhere
    topics: list[str]  # by number of the branch
    lookers: torch.Tensor  # (looks, 2): tree and index of a token that looks for the next one
    looked_at: torch.Tensor  # (looks, 2, tokens): True at the tokens of the area, and of the spot
    sight: Sight


def weave(trees: list[Tree]) -> Lesson:
    """Packs `trees`; pictures in the order of their tokens."""
    length = max(len(t.root.ids) + sum(len(b.ids) for b in t.branches) for t in trees)
    n = len(trees)
    ids = np.zeros((n, length), np.int64) + build_tokenizer().pad_token_id
    positions = np.zeros((3, n, length), np.int64)
    mask = np.zeros((n, 1, length, length), bool)
    mask[:, :, np.arange(length), np.arange(length)] = True  # padding sees itself: no row is empty
    weights = np.zeros((n, length), np.float32)
    sources = np.zeros((n, length), np.int64)
    number = np.full((n, length), -1, np.int64)
    topics: list[str] = []
    windows: list[Window] = []
    lookers: list[tuple[int, int]] = []
    looked_at: list[np.ndarray] = []
    for t, tree in enumerate(trees):
        root = len(tree.root.ids)
        ids[t, :root] = tree.root.ids
        positions[:, t, :root], after = _positions(tree.root, 0)
        mask[t, 0, :root, :root] |= np.tri(root, dtype=bool)
        windows += tree.root.windows
        start = root
        for branch in tree.branches:
            end = start + len(branch.ids)
            ids[t, start:end] = branch.ids
            positions[:, t, start:end], _ = _positions(branch, after)
            mask[t, 0, start:end, :root] = True
            mask[t, 0, start:end, start:end] |= np.tri(end - start, dtype=bool)
            weights[t, start:end] = branch.weights
            sources[t, start:end] = np.arange(start - 1, end - 1)
            sources[t, start] = root - 1
            number[t, start:end] = len(topics)
            topics.append(branch.topic)
            windows += branch.windows
            for i, look in enumerate(branch.looks):
                if look:
                    first = start + _picture(branch) if look.own else _picture(tree.root)
                    there = np.zeros((2, length), bool)
                    there[0, [first + cell for cell in look.area]] = True
                    there[1, [first + cell for cell in look.spot]] = True
                    lookers.append((t, sources[t, start + i]))
                    looked_at.append(there)
            start = end
    return Lesson(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(mask),
        torch.from_numpy(weights),
        torch.from_numpy(sources),
        torch.from_numpy(number),
        topics,
        torch.tensor(lookers, dtype=torch.long).reshape(-1, 2),
        torch.from_numpy(np.stack(looked_at) if looked_at else np.zeros((0, 2, length), bool)),
        pack(windows),
    )
