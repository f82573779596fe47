"""The cards of the checkpoints that ship: the hub's front matter, with the figures that the card shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EMBEDDED = ROOT / "agentic_vision" / "policies" / "embedded_checkpoint" / "README.md"
OPEN_DECISION = ROOT / "training" / "warm_start" / "open_decision" / "README.md"

hub = pytest.importorskip("huggingface_hub", reason="needs the extra: pip install 'agentic-vision[local]'")


def card(path: Path) -> Any:
    return hub.ModelCard(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [EMBEDDED, OPEN_DECISION], ids=["embedded", "open decision"])
def test_the_front_matter_is_the_hubs(path: Path) -> None:
    data = card(path).data
    assert data.license == "apache-2.0"
    assert data.to_dict()["library_name"] == "transformers"
    assert data.pipeline_tag == "image-text-to-text"
    assert data.base_model is None
    assert len(data.eval_results) == 4  # huggingface_hub has understood the model-index
    assert {result.dataset_type for result in data.eval_results} == {"pocket-vqa"}


def test_the_figures_of_the_embedded_checkpoint_are_those_of_its_table() -> None:
    shown = card(EMBEDDED)
    (row,) = re.findall(r"^\| \*\*`agent`.*\|$", shown.content, re.M)
    figures = [float(re.findall(r"[\d.]+(?= %)", cell)[0]) for cell in row.strip("| ").split("|")[1:]]
    assert [result.metric_value for result in shown.data.eval_results] == figures


def test_the_figures_of_the_open_decision_are_those_of_its_table() -> None:
    shown = card(OPEN_DECISION)
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) % \(", shown.content, re.M))
    for result in shown.data.eval_results:
        assert float(rows[result.metric_name.removesuffix(" (%)")]) == result.metric_value
