"""The folder of a PocketVQA can be pushed as it is: its card is true, and what the card shows runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agentic_vision import __version__
from agentic_vision.loading import load_rows
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa

yaml = pytest.importorskip("yaml", reason="needs the extra: pip install 'agentic-vision[train]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pocket_vqa(tmp_path_factory.mktemp("data") / "pocket", 20, 3, "heldout").parent


def front_matter(card: str) -> dict[str, Any]:
    _, said, _ = re.split(r"^---$", card, maxsplit=2, flags=re.M)
    return yaml.safe_load(said)


def test_the_front_matter_says_what_the_hub_asks_for(folder: Path) -> None:
    said = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    assert said["license"] == "apache-2.0"
    assert said["task_categories"] == ["visual-question-answering"]
    assert said["size_categories"] == ["n<1K"]
    (config,) = said["configs"]
    (files,) = config["data_files"]
    assert files["split"] == "heldout"
    assert all(list(folder.glob(pattern)) for pattern in files["path"])


def test_what_the_card_counts_is_there(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    counted = Counter((row["scene"], row["kind"]) for row in rows)
    table = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|$", card, re.M)
    found = {(scene, kind): int(n) for scene, *ns in table for kind, n in zip(("coarse", "fine"), ns, strict=True)}
    assert found == counted
    assert f"# PocketVQA, {len(rows)} questions of the heldout split" in card
    assert f"data pocket OUT --n {len(rows)} --seed 3 --split heldout\n" in card
    assert f"agentic-vision {__version__}" in card
    fields = card[card.index("| field |") : card.index("`rows.jsonl` holds")]
    assert set(re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", fields, re.M)) == {
        ("question", "answer"),
        *((name, "") for name in rows[0] if name not in ("question", "answer")),
    }
    sizes = [Image.open(folder / row["images"][0]).size for row in rows]
    widths, heights = zip(*sizes, strict=True)
    assert f"{min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high" in card


def test_its_snippet_loads_the_questions_with_their_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.S)
    scope: dict[str, Any] = {}
    exec(code, scope)
    loaded = scope["rows"]
    ours = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{**row, "images": None} for row in loaded] == [{**row, "images": None} for row in ours]
    for row, own in zip(loaded, ours, strict=True):
        with Image.open(folder / own["images"][0]) as image:
            assert [picture.tobytes() for picture in row["images"]] == [image.tobytes()]
    assert ours[0]["question"] in capsys.readouterr().out


def test_rows_in_parquet_are_read_back_from_their_folder(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write_pocket_vqa(tmp_path, 8, 3, format="parquet")
    assert "`rows.parquet` holds the rows" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "--split train --format parquet\n" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert load_rows(tmp_path, tmp_path) == load_rows(path, tmp_path)
