"""A reward that learns goes on where a killed run was."""

from __future__ import annotations

from pathlib import Path

from groups import group, totals, trajectory

from agentic_vision.training import ExactMatch, VisualBudget
from agentic_vision.training.rewards.reward import parts_of
from agentic_vision.training.verl.memory import Memory

DEAR = group(trajectory("1", tokens=100))


def test_it_goes_on_from_the_step_before(tmp_path: Path) -> None:
    budget = VisualBudget(0.5, rate=0.1)
    reward = ExactMatch() - budget
    memory = Memory(tmp_path / "rewards.jsonl", list(parts_of(reward)))
    prices = [budget.price]
    for step in (1, 2, 3):
        totals(reward, DEAR)
        memory.note(step)
        prices.append(budget.price)
    with (tmp_path / "rewards.jsonl").open("a") as out:
        out.write('{"step": 4, "mem')  # a kill in the middle of a line
    for resumed_at in (1, 2, 3, 4):
        other = VisualBudget(0.5, rate=0.1)
        Memory(tmp_path / "rewards.jsonl", list(parts_of(ExactMatch() - other))).restore(resumed_at)
        assert other.price == prices[resumed_at - 1]


def test_rewards_that_learn_nothing_leave_no_file(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "rewards.jsonl", list(parts_of(ExactMatch() + 1)))
    memory.restore(1)
    memory.note(1)
    assert not (tmp_path / "rewards.jsonl").exists()
