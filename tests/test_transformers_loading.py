"""Loading a checkpoint: where it may lie, what may be wrong with it, and what is said then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_checkpoints
from local_policy import GLANCE, ask, user

from agentic_vision.errors import ConfigError, PolicyError
from agentic_vision.policies.trained_for import TrainedFor
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import PromptStyle

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json"])
def test_the_chat_template_may_stand_in_its_own_file(file: Any, qwen3: Path, tmp_path: Path) -> None:
    tiny_checkpoints.make(tmp_path, "qwen3_vl", template=file)
    policy = TransformersPolicy.load(tmp_path, device="cpu", max_new_tokens=6)
    usual = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    assert ask(policy, "x", user("?", GLANCE)) == ask(usual, "x", user("?", GLANCE))


def test_dtype_and_device(qwen3: Path) -> None:
    assert next(TransformersPolicy.load(qwen3, device="cpu").model.parameters()).dtype == torch.float32
    half = TransformersPolicy.load(qwen3, device="cpu", dtype="bfloat16", max_new_tokens=3)
    assert next(half.model.parameters()).dtype == torch.bfloat16
    assert ask(half, "x", user("?", GLANCE)).output_tokens
    with pytest.raises(ConfigError, match="no dtype for weights"):
        TransformersPolicy.load(qwen3, dtype="int8")
    with pytest.raises(ConfigError, match="is no device"):
        TransformersPolicy.load(qwen3, device="gpu")
    with pytest.raises(ConfigError, match="'meta' holds no numbers"):
        TransformersPolicy.load(qwen3, device="meta")


@pytest.mark.parametrize("device", ["mps", "xpu", "cuda:7"])
def test_a_device_that_is_not_there_is_told_before_anything_is_loaded(device: str, tmp_path: Path) -> None:
    if device.partition(":")[0] == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=f"device '{device}' .*: leave `device` out"):
        TransformersPolicy.load(tmp_path, device=device)


def test_what_a_checkpoint_on_the_hub_was_trained_for_is_read_too(tmp_path: Path) -> None:
    model = tmp_path / "hub" / "models--nobody--tiny"
    (model / "snapshots" / "abc").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    TrainedFor(style=PromptStyle.COMPACT, max_new_tokens=7).write(model / "snapshots" / "abc")
    code = (
        "from agentic_vision.policies.trained_for import TrainedFor;"
        "print(TrainedFor.read('nobody/tiny').max_new_tokens, TrainedFor.read('nobody/else').max_new_tokens)"
    )
    home = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    home.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=home)
    assert (done.stdout, done.stderr) == ("7 256\n", "")


def test_a_misspelt_setting_of_a_trained_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "agentic_vision.json").write_text('{"max_tokens": 7}')
    with pytest.raises(ConfigError, match="max_tokens: extra inputs are not permitted"):
        TrainedFor.read(tmp_path)


class TestLoading:
    def test_says_nothing(self, qwen3: Path) -> None:
        code = (
            "import sys; from agentic_vision.policies.transformers import TransformersPolicy;"
            "TransformersPolicy.load(sys.argv[1], device='cpu')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(qwen3)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_without_torch_it_names_the_extra(self, qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "agentic_vision.policies.weights", raising=False)
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ConfigError, match=r"pip install 'agentic-vision\[local\]'"):
            TransformersPolicy.load(qwen3)

    @pytest.mark.parametrize(
        "path", ["/nowhere/at/all", "./nowhere", Path("nowhere"), "a/b/c", "~nobody9/x", "/" + 300 * "x"]
    )
    def test_no_such_folder(self, path: str | Path) -> None:
        with pytest.raises(ConfigError, match="there is no checkpoint folder"):
            TransformersPolicy.load(path)

    def test_a_bare_name_may_be_meant_for_an_endpoint(self) -> None:
        with pytest.raises(ConfigError, match=r"folder gpt-5-mini: .*base_url=.*OpenAIPolicy\('gpt-5-mini'\)"):
            TransformersPolicy.load("gpt-5-mini")

    def test_a_folder_that_is_no_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"has no config\.json"):
            TransformersPolicy.load(tmp_path)

    def test_a_hub_that_cannot_be_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(PolicyError, match=r"cannot load the checkpoint nobody/nothing: .*huggingface") as caught:
            TransformersPolicy.load("nobody/nothing")
        assert "\n" not in str(caught.value)

    def test_another_kind_of_model(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        with pytest.raises(ConfigError, match="is a llama model"):
            TransformersPolicy.load(tmp_path)

    def test_pickled_weights_are_not_loaded(self, tmp_path: Path) -> None:
        tiny_checkpoints.make(tmp_path, "qwen2_vl")
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        with pytest.raises(PolicyError, match="safetensors"):
            TransformersPolicy.load(tmp_path)

    def test_missing_weights_are_not_made_up(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        tiny_checkpoints.make(tmp_path, "qwen2_5_vl")
        weights = load_file(tmp_path / "model.safetensors")
        weights.pop(next(key for key in weights if "layers.1.mlp.up_proj" in key))
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(PolicyError, match=r"incomplete: 1 weights are missing.*up_proj"):
            TransformersPolicy.load(tmp_path)

    def test_a_truncated_weights_file(self, tmp_path: Path) -> None:
        tiny_checkpoints.make(tmp_path, "qwen2_5_vl")
        file = tmp_path / "model.safetensors"
        file.write_bytes(file.read_bytes()[:20_000])
        with pytest.raises(PolicyError, match="cannot load the checkpoint"):
            TransformersPolicy.load(tmp_path)

    def test_a_device_that_is_too_small(self, qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(torch.nn.Module, "to", full)
        with pytest.raises(PolicyError, match="does not fit on cpu"):
            TransformersPolicy.load(qwen3, device="cpu")

    def test_no_chat_template(self, tmp_path: Path) -> None:
        tiny_checkpoints.make(tmp_path, "qwen2_vl")
        file = tmp_path / "tokenizer_config.json"
        settings = json.loads(file.read_text())
        del settings["chat_template"]
        file.write_text(json.dumps(settings))
        with pytest.raises(PolicyError, match="has no chat template"):
            TransformersPolicy.load(tmp_path)

    def test_old_pixel_limits_do_not_leak_into_the_next_checkpoint(self, folders: dict[str, Path]) -> None:
        TransformersPolicy.load(folders["qwen2_vl"], device="cpu")
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        assert Qwen2VLImageProcessorPil.size["longest_edge"] == 28 * 28 * 1280

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_new_tokens": 0},
            {"max_batch": 0},
            {"temperature": -1.0},
            {"temperature": float("nan")},
            {"cache_gib": float("inf")},
        ],
    )
    def test_impossible_settings_are_told_before_anything_is_loaded(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="1 or more"):
            TransformersPolicy.load("nobody/nothing", **wrong)
