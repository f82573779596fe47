"""The alternatives as strategies, on the same weights: what pruned views cost, and the agent whose views are pruned."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentic_vision.errors import ConfigError
from agentic_vision.evaluation import evaluate
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.pruned import PrunedPolicy
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.rows import Row, read_rows
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two coarse ones, two fine ones."""
    write_pocket_vqa(tmp_path / "pocket", n=12, seed=1, split="heldout")
    rows = read_rows(tmp_path / "pocket")
    return [row for kind in ("coarse", "fine") for row in [row for row in rows if row.kind == kind][:2]]


def test_pruned_strategies_cost_less_and_the_agent_still_calls(rows: list[Row], tmp_path: Path) -> None:
    embedded = EmbeddedPolicy.load()
    names = ["full", "full+fastv:0.5", "full+visiondrop:0.5", "full+todre:0.5", "agent", "agent+todre:0.5"]
    summary = evaluate(rows, embedded, names, tmp_path / "out")
    ratio = {name: scores.visual_tokens_ratio or 0 for name, scores in summary.strategies.items()}
    assert ratio["full"] == 1
    for method in ("fastv", "visiondrop", "todre"):
        share = PrunedPolicy.of(embedded, method, kept=0.5).processed_share
        assert ratio[f"full+{method}:0.5"] == pytest.approx(share)
        assert share < 0.75
    assert ratio["agent+todre:0.5"] < ratio["agent"]
    assert summary.strategies["agent+todre:0.5"].call_ratio


def test_what_cannot_be_pruned_is_told_before_the_first_question(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a ScriptedPolicy cannot be pruned"):
        evaluate(rows, ScriptedPolicy(["x"], family="pocket"), ["full+fastv:0.5"], tmp_path / "out")
    with pytest.raises(ConfigError, match="no pruning method 'best': give one of fastv"):
        evaluate(rows, EmbeddedPolicy.load(), ["full+best:0.5"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
