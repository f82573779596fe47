"""An optimizer of ours that verl builds: `optim.optimizer_impl` names this module, `optim.optimizer` the class.

At the place where a policy decides, what it sees of any two questions is nearly the same. A step along the gradient
then moves all decisions alike, long before it tells two questions apart. Muon gives every direction of a matrix an
equal step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from agentic_vision.errors import ConfigError

from ..warm_start.muon import Muon

TALL = 3.0
"""A matrix taller than this is a table of tokens: its rows learn one by one."""


class MuonAdamW(torch.optim.Optimizer):
    """Muon for matrices, AdamW at `share` of the rate for all else: norms, biases, tables of tokens.

    Raises `ConfigError` where parameters are sharded: Muon needs whole matrices.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        share: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        given = [parameter for parameter in params if parameter.requires_grad]
        super().__init__(given, {"lr": lr})
        self._pairs = [(parameter, _whole(parameter)) for parameter in given]
        matrices = [whole for _, whole in self._pairs if _is_matrix(whole)]
        rest = [whole for _, whole in self._pairs if not _is_matrix(whole)]
        self._muon = Muon(matrices, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._adamw = torch.optim.AdamW(rest, lr=lr * share, betas=betas, weight_decay=0.0)
        # Theirs, so that a schedule of rates reaches them.
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One update of all parameters that have gradients."""
        for parameter, whole in self._pairs:
            whole.grad = None if parameter.grad is None else _whole(parameter.grad)
        self._muon.step()
        self._adamw.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter, whole in self._pairs:
            whole.grad = None
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]


def _is_matrix(whole: torch.Tensor) -> bool:
    return whole.ndim == 2 and whole.shape[0] <= TALL * whole.shape[1]


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's own memory, without what FSDP wraps around it."""
    if not isinstance(tensor, DTensor):
        return tensor.detach()
    if tensor.device_mesh.size() > 1:
        raise ConfigError("MuonAdamW needs whole matrices: train on one device, or choose AdamW")
    return tensor.to_local().detach()
