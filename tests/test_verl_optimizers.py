"""The optimizer that verl builds for small policies."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("verl")

from verl.workers.config import FSDPOptimizerConfig
from verl.workers.config.optimizer import build_optimizer

from agentic_vision.training.verl.optimizers import MuonAdamW


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Embedding(64, 8), torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3)
    )


def learn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    words, labels = torch.arange(64), torch.arange(64) % 3
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(model(words), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_verl_builds_it_by_name() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    config = FSDPOptimizerConfig(
        optimizer="MuonAdamW", optimizer_impl="agentic_vision.training.verl.optimizers", lr=0.02, weight_decay=0.0
    )
    optimizer = build_optimizer(model.parameters(), config)
    assert isinstance(optimizer, MuonAdamW)
    frozen = model[0].weight.clone()
    losses = learn(model, optimizer, 60)
    assert losses[-1] < 0.9 * losses[0]
    assert model[0].weight.equal(frozen)


def test_a_schedule_reaches_both_parts() -> None:
    model = network()
    optimizer = MuonAdamW(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    learn(model, optimizer, 1)
    schedule.step()
    before = [parameter.clone() for parameter in model.parameters()]
    learn(model, optimizer, 2)
    assert all(parameter.equal(old) for parameter, old in zip(model.parameters(), before, strict=True))


def test_it_goes_on_from_its_state() -> None:
    model = network()
    optimizer = MuonAdamW(model.parameters(), lr=0.02)
    learn(model, optimizer, 5)
    twin = copy.deepcopy(model)
    other = MuonAdamW(twin.parameters(), lr=0.02)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert learn(model, optimizer, 5) == learn(twin, other, 5)
