"""The policy between the start and the end of its training."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import make

from agentic_vision.policies.weights import load_weights
from agentic_vision.training.averaging import average

OPEN_DECISION = str(resources.files("agentic_vision.training.warm_start") / "open_decision")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_lies_on_the_line_to_the_start(
    tmp_path: Path, dtype: torch.dtype, capfd: pytest.CaptureFixture[str]
) -> None:
    start, trained = make(tmp_path / "start", "qwen3_vl"), make(tmp_path / "trained", "qwen3_vl")
    begun = load_file(start / "model.safetensors")
    ended = {name: (weight.float() + 1).to(dtype) for name, weight in begun.items()}
    save_file(ended, trained / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))  # verl's may name another, too
    capfd.readouterr()
    average(str(start), trained, 0.75)
    assert capfd.readouterr() == ("", "")  # the training's own bar is what people watch
    found = load_file(trained / "model.safetensors")
    assert found.keys() == ended.keys()
    for name, weight in found.items():
        assert weight.dtype == dtype
        between = 0.25 * begun[name].float() + 0.75 * ended[name].float()
        torch.testing.assert_close(weight, between.to(dtype))
    load_weights(str(trained), "cpu", "float32")


def test_tied_weights_are_averaged_once(tmp_path: Path) -> None:
    start, trained = (Path(shutil.copytree(OPEN_DECISION, tmp_path / name)) for name in ("start", "trained"))
    begun = load_file(start / "model.safetensors")
    ended = {name: weight + 1 for name, weight in begun.items()}
    save_file(ended, trained / "model.safetensors", metadata={"format": "pt"})
    average(str(start), trained, 0.5)
    tied = load_file(trained / "model.safetensors")["model.language_model.embed_tokens.weight"]
    torch.testing.assert_close(tied, begun["model.language_model.embed_tokens.weight"] + 0.5, atol=2e-3, rtol=0)
