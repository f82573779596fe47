"""Muon for the matrices, AdamW for the rest: with AdamW alone the tower does not learn to read in the time at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .muon import Muon


@dataclass(frozen=True)
class Trained:
    """A module that learns, at `pace` times the stage's rates; its queries' and keys' norms `sharpen` times faster.

    These few numbers bound how sharply attention can choose; at the rates of the rest they would be the last to learn.
    """

    module: nn.Module
    pace: float = 1.0
    sharpen: float = 1.0


class Optimizers:
    """The pair, stepped together along one schedule."""

    def __init__(self, trained: list[Trained], *, muon: float, adamw: float) -> None:
        seen: set[int] = set()
        matrices: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for part in trained:
            new = [(name, p) for name, p in part.module.named_parameters() if id(p) not in seen]
            seen |= {id(p) for _, p in new}
            flat = [p for name, p in new if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
            ids = {id(p) for p in flat}
            matrices.append({"params": flat, "pace": part.pace})
            left = [(name, p) for name, p in new if id(p) not in ids]
            norms = [p for name, p in left if part.sharpen != 1 and ("q_norm" in name or "k_norm" in name)]
            ids |= {id(p) for p in norms}
            rest.append({"params": [p for _, p in left if id(p) not in ids], "pace": part.pace})
            rest.append({"params": norms, "pace": part.pace * part.sharpen})
        self._parameters = [p for group in matrices + rest for p in group["params"]]
        self._muon = Muon([group for group in matrices if group["params"]], lr=muon, weight_decay=0.02)
        self._adamw = torch.optim.AdamW(
            [group for group in rest if group["params"]], lr=adamw, betas=(0.9, 0.98), weight_decay=0.0
        )
        self._rates = (muon, adamw)

    def step(self, scale: float) -> float:
        """One step at `scale` of the full rates; returns the gradient's norm before clipping to 1."""
        norm = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, rate in zip((self._muon, self._adamw), self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale * group["pace"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
