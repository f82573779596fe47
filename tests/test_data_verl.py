"""Any data set becomes verl's, or is stopped with a table of what is wrong in it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError

pytest.importorskip("torch")

from agentic_vision.training import recipe as recipes
from agentic_vision.training.data.for_run import write_run_data
from agentic_vision.training.launch import model_folder
from agentic_vision.training.verl.rollout import check_side


def png(colour: str = "red", size: tuple[int, int] = (120, 90)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def good(folder: Path, id: str = "a", **more: Any) -> dict[str, Any]:
    (folder / "red.png").write_bytes(png())
    return {"id": id, "images": ["red.png"], "question": "Which colour?", "answer": "red", **more}


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", "verl", *map(str, arguments)])


def as_jsonl(folder: Path) -> Path:
    return jsonl(folder, good(folder))


def as_parquet_of_bytes(folder: Path) -> Path:
    row = {"problem": "Which colour?", "solution": "red", "image": {"bytes": png(), "path": None}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "rows.parquet")
    return folder / "rows.parquet"


def as_saved_dataset(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    )
    rows = {"image": [{"bytes": png(), "path": None}], "question": ["Which colour?"], "answer": ["red"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "saved"))
    return folder / "saved"


@pytest.mark.parametrize("make", [as_jsonl, as_parquet_of_bytes, as_saved_dataset])
def test_every_form_becomes_the_same_row(make: Callable[[Path], Path], tmp_path: Path) -> None:
    out = tmp_path / "out" / "train.parquet"
    done = command(make(tmp_path), out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["good"] == 1
    (row,) = pyarrow.parquet.read_table(out).to_pylist()
    assert row["prompt"] == [{"role": "user", "content": "Which colour?"}]
    assert row["reward_model"]["ground_truth"] == "red"
    facts = row["extra_info"]
    assert (facts["question"], facts["references"], facts["options"]) == ("Which colour?", ["red"], [])
    assert Image.open(facts["images"][0]).getpixel((0, 0)) == (255, 0, 0)


def test_several_answers_and_options_go_along(tmp_path: Path) -> None:
    path = jsonl(tmp_path, good(tmp_path, answers=["red", "crimson"], options=["red", "blue"]))
    assert command(path, tmp_path / "train.parquet", "--json").exit_code == 0
    (row,) = pyarrow.parquet.read_table(tmp_path / "train.parquet").to_pylist()
    assert row["prompt"][0]["content"] == "Which colour?\nA. red\nB. blue"
    assert row["extra_info"]["references"] == ["red", "crimson"]
    assert row["extra_info"]["options"] == ["red", "blue"]


def test_trouble_stops_it_with_all_that_was_found(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(png()[:60])
    path = jsonl(
        tmp_path,
        good(tmp_path),
        good(tmp_path),
        good(tmp_path, "b", images=["broken.png"]),
        good(tmp_path, "c", images=["missing.png"]),
        good(tmp_path, "d", answer=None),
        good(tmp_path, "e", question="long " * 400),
        good(tmp_path, "f", images=[]),
    )
    stopped = command(path, tmp_path / "train.parquet")
    assert stopped.exit_code == 2
    for said in (
        "6 of 7 rows",
        "id comes twice",
        "broken image",
        "unreadable row",
        "prompt too long",
        "prompt_length is 512",
    ):
        assert said in " ".join(stopped.output.split()), said
    assert not (tmp_path / "train.parquet").exists()
    dropped = command(path, tmp_path / "train.parquet", "--drop", "--json")
    told = json.loads(dropped.stdout)
    assert (told["rows"], told["good"]) == (7, 1)
    assert {kind: found["rows"] for kind, found in told["troubles"].items()} == {
        "id comes twice": 1,
        "broken image": 2,
        "unreadable row": 2,
        "prompt too long": 1,
    }


def test_every_row_is_read_by_the_agent_that_will_be_trained(tmp_path: Path) -> None:
    """With its limits, and tools of one's own."""
    (tmp_path / "tool.py").write_text(
        'from agentic_vision import View\n\ndef look(view: View) -> View:\n    "Look again."\n    return view\n'
    )
    path = jsonl(tmp_path, good(tmp_path))
    own = f"agent.tools=['{tmp_path / 'tool.py'}:look']"
    assert command(path, tmp_path / "a.parquet", "--set", own, "--json").exit_code == 0
    stopped = command(path, tmp_path / "b.parquet", "--set", "agent.max_visual_tokens=1")
    assert stopped.exit_code == 2
    assert "token budget" in " ".join(stopped.output.split())


class TestRun:
    """The data step of a training run, on files of one's own."""

    def data(self, folder: Path, train: Path, val: Path) -> list[Path]:
        files = [f"files.train={train}", f"files.val={val}"]
        recipe = recipes.read("pocket_smoke", ["pocket=null", *files])
        with model_folder(recipe) as model:
            write_run_data(recipe, folder / "data", model)
        return [folder / "data" / f"{split}.parquet" for split in ("train", "val")]

    def test_what_was_made_ready_is_taken_as_it_is(self, tmp_path: Path) -> None:
        own, made = jsonl(tmp_path, good(tmp_path, options=["red", "blue"])), tmp_path / "made" / "train.parquet"
        assert command(own, made).exit_code == 0
        train, val = self.data(tmp_path / "run", made, own)  # validation as it came
        assert train.read_bytes() == made.read_bytes()
        assert pyarrow.parquet.read_table(val).to_pylist() == pyarrow.parquet.read_table(train).to_pylist()

    def test_its_images_must_be_where_they_were(self, tmp_path: Path) -> None:
        own, made = jsonl(tmp_path, good(tmp_path)), tmp_path / "made" / "train.parquet"
        assert command(own, made).exit_code == 0
        image = Path(pyarrow.parquet.read_table(made).to_pylist()[0]["extra_info"]["images"][0])
        image.rename(image.with_name("moved.png"))
        with pytest.raises(ConfigError, match=rf"images are not there, as .*{image.name}: put them back"):
            self.data(tmp_path / "run", made, made)

    def test_a_template_without_a_token_for_the_outcome(self, tmp_path: Path) -> None:
        with model_folder(recipes.read("pocket_cpu")) as model:
            check_side(model)
            shutil.copytree(model, tmp_path / "model")
        template = tmp_path / "model" / "chat_template.jinja"
        text = template.read_text()
        assert "<|im_end|>\\n" in text
        template.write_text(text.replace("<|im_end|>\\n", "<|im_end|>"))
        with pytest.raises(ConfigError, match="leave `side` out"):
            check_side(str(tmp_path / "model"))

    def test_what_was_not_is_read_before(self, tmp_path: Path) -> None:
        made = tmp_path / "train.parquet"
        made.write_bytes(b"no parquet")
        with pytest.raises(ConfigError, match=r"cannot read .*train\.parquet"):
            self.data(tmp_path / "run", made, made)
