"""Nothing that is loaded is code: not a checkpoint's weights, not its settings, not what a store gives back."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import tiny_checkpoints
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.errors import AgenticVisionError, PolicyError
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.protocol import write

ROOT = Path(__file__).parent.parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("np", "load"),
    ("numpy", "load"),
    ("pandas", "read_pickle"),
    ("pd", "read_pickle"),
    ("os", "system"),
}


def dangers(source: str) -> list[str]:
    """Where a module makes code of data, or may."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(name.name.split(".")[0] in MODULES for name in names):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.append(f"{node.lineno}: {name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (module, name) in METHODS:
                found.append(f"{node.lineno}: {module}.{name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=given):
                if not any(one.arg == "weights_only" and ast.unparse(one.value) == "True" for one in given):
                    found.append(f"{node.lineno}: torch.load() of a pickle")
            case ast.keyword(arg="trust_remote_code" | "allow_pickle" | "pickle_fallback" | "shell", value=value):
                if ast.unparse(value) != "False":
                    found.append(f"{value.lineno}: {node.arg}={ast.unparse(value)}")
            case _:
                pass
    return found


@pytest.mark.parametrize("folder", ["agentic_vision", "tools", "training", "examples"])
def test_no_module_makes_code_of_data(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert {str(file): found for file in files if (found := dangers(file.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import loads",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "AutoConfig.from_pretrained(name, trust_remote_code=True)",
        "JsonPlusSerializer(pickle_fallback=True)",
    ],
)
def test_a_breach_would_be_seen(line: str) -> None:
    assert dangers(line)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_checkpoints.make(tmp_path / "checkpoint", "qwen2_5_vl")


class TestCheckpoints:
    def test_pickled_weights_are_refused_with_the_way_out(self, checkpoint: Path) -> None:
        (checkpoint / "model.safetensors").unlink()
        import torch

        torch.save({"weight": torch.zeros(1)}, checkpoint / "pytorch_model.bin")
        with pytest.raises(PolicyError, match=r"pickle.*save_pretrained") as caught:
            TransformersPolicy.load(checkpoint)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "auto", ["AutoConfig", "AutoModelForImageTextToText", "AutoTokenizer", "AutoImageProcessor"]
    )
    def test_code_that_comes_with_a_checkpoint_is_not_run(self, auto: str, checkpoint: Path, tmp_path: Path) -> None:
        owned = tmp_path / "owned"
        (checkpoint / "mine.py").write_text(f"open({str(owned)!r}, 'w').close()\nclass Mine: pass\n")
        for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
            settings = json.loads((checkpoint / name).read_text())
            settings["auto_map"] = {auto: ["mine.Mine", "mine.Mine"] if auto == "AutoTokenizer" else "mine.Mine"}
            (checkpoint / name).write_text(json.dumps(settings))
        assert TransformersPolicy.load(checkpoint, device="cpu").family.name
        assert not owned.exists()

    def test_nor_where_no_other_code_knows_the_model(self, checkpoint: Path, tmp_path: Path) -> None:
        owned = tmp_path / "owned"
        (checkpoint / "mine.py").write_text(f"open({str(owned)!r}, 'w').close()\nclass Mine: pass\n")
        settings = json.loads((checkpoint / "config.json").read_text())
        settings |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
        (checkpoint / "config.json").write_text(json.dumps(settings))
        with pytest.raises(AgenticVisionError):
            TransformersPolicy.load(checkpoint, device="cpu")
        assert not owned.exists()

    @pytest.mark.parametrize(
        "template",
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ cycler.__init__.__globals__.os.system('touch owned') }}",
            "{% for i in range(10**12) %}x{% endfor %}",
            "{{ messages.append(1) }}",
        ],
    )
    def test_a_chat_template_is_no_program(self, template: str, checkpoint: Path) -> None:
        settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
        (checkpoint / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
        with pytest.raises(PolicyError, match="chat template cannot render"):
            TransformersPolicy.load(checkpoint, device="cpu")


def test_what_a_checkpointer_stores_of_a_question_is_data_alone() -> None:
    """Read by a serializer that knows no class but its own, and never a pickle."""
    serde = JsonPlusSerializer(allowed_msgpack_modules=[], pickle_fallback=False)
    saver = InMemorySaver(serde=serde)
    call = write(calls=[("zoom_crop", {"bbox_2d": [1, 2, 300, 400], "</tool_call>": {"lc": 1, "type": "constructor"}})])
    agent = VisionAgent(ScriptedPolicy([call, write(answer="7")]), checkpointer=saver)
    agent.ask(Image.new("RGB", (64, 64)), "What?", thread_id="t")
    stored = saver.get_tuple({"configurable": {"thread_id": "t"}})
    assert stored is not None
    kinds = {kind for kind, _ in [*saver.blobs.values()]} | {serde.dumps_typed(stored.checkpoint)[0]}
    assert kinds <= {"msgpack", "json", "empty", "null"}
    assert (
        json.loads(json.dumps(stored.checkpoint["channel_values"]["steps"]))
        == (stored.checkpoint["channel_values"]["steps"])
    )
    assert agent.resume("t", Image.new("RGB", (64, 64))).answer == "7"
