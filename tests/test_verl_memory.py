"""A reward that learns goes on where a killed run was."""

from __future__ import annotations

from pathlib import Path

import pytest
from groups import group, trajectory

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
        budget.learn([DEAR])
        memory.note(step)
        prices.append(budget.price)
    with (tmp_path / "rewards.jsonl").open("a") as out:
        out.write('{"step": 4, "mem')  # a kill in the middle of a line
    for resumed_at in (4, 3, 2, 1):
        other = VisualBudget(0.5, rate=0.1)
        Memory(tmp_path / "rewards.jsonl", list(parts_of(ExactMatch() - other))).restore(resumed_at)
        assert other.price == prices[resumed_at - 1]


def test_a_run_that_is_killed_again_goes_on_again(tmp_path: Path) -> None:
    """What a kill leaves of a line is no beginning of the next one, and steps that are done again are noted once."""
    path, prices = tmp_path / "rewards.jsonl", []
    for begun in (1, 2, 2, 3):
        budget = VisualBudget(0.5, rate=0.1)
        memory = Memory(path, [budget])
        memory.restore(begun)
        prices.append(budget.price)
        for step in (begun, begun + 1):
            budget.learn([DEAR])
            memory.note(step)
        with path.open("a") as out:
            out.write('{"step": 9, "mem')
    assert prices == pytest.approx([1.0, 1.05, 1.05, 1.1])
    assert path.read_text().count('"step": 3,') == 1


def test_rewards_that_learn_nothing_leave_no_file(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "rewards.jsonl", list(parts_of(ExactMatch() + 1)))
    memory.restore(1)
    memory.note(1)
    assert not (tmp_path / "rewards.jsonl").exists()
