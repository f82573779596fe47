"""PocketVQA: procedural pictures with questions of which some can be answered from a glance and some cannot.

*Coarse* questions ask for colour, count, place or order; *fine* ones for print whose characters are 7 to 9 pixels
high, so that a glance at a quarter of the visual tokens has lost them. The held-out split differs from train in its
seeds and in what it shows: numbers (one in seven) and pairs of colour and shape (one in four) that train never prints.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from agentic_vision.errors import ConfigError
from agentic_vision.view import Box, View
from agentic_vision.visual_tokens import family

from .pocket import cards, chart, plan, receipt
from .pocket.dataset_card import dataset_card
from .pocket.ink import Question, Scene, Split

SCENES = {"cards": cards.draw, "chart": chart.draw, "receipt": receipt.draw, "plan": plan.draw}
SIZES = ((160, 192), (192, 160), (192, 192), (224, 192), (192, 224), (160, 224), (224, 160), (208, 208))
"""Pixel sizes (width, height) of the pictures: 120 to 169 visual tokens in the embedded model's family."""
CROP_MARGIN = 14.0
"""Pixels that the sufficient crop leaves around the evidence, and so does the one that the small model learns."""


def draw_scene(rng: random.Random, split: Split, name: str | None = None) -> Scene:
    """One picture with all its questions; the kind of scene is drawn too unless `name` says it."""
    return SCENES[name or rng.choice(list(SCENES))](rng, rng.choice(SIZES), split)


def pocket_rows(n: int, seed: int, split: Split) -> Iterator[tuple[dict[str, Any], Scene]]:
    """n rows (see `write_pocket_vqa`), each with its own picture: scenes in turn, coarse and fine in turn.

    Row i depends on the seed, the split and i alone, so a longer set begins with the shorter one.
    """
    names = list(SCENES)
    for i in range(n):
        rng = random.Random(f"pocket/{split}/{seed}/{i}")
        scene = draw_scene(rng, split, names[i % len(names)])
        kind = ("coarse", "fine")[i // len(names) % 2]
        question = rng.choice([q for q in scene.questions if q.kind == kind])
        name = f"{split}-{seed}-{i:06d}"
        row = {
            "id": name,
            "images": [f"images/{name}.png"],
            "question": question.text,
            "answer": question.answer,
            "kind": question.kind,
            "scene": scene.name,
            "evidence": [math.floor(v) if k < 2 else math.ceil(v) for k, v in enumerate(question.evidence)],
            "sufficient": _sufficient(question, scene.image.size),
        }
        yield row, scene


def _sufficient(question: Question, size: tuple[int, int]) -> dict[str, Any]:
    """The cheapest way to the answer for the embedded model's family: a glance, or a glance and a crop."""
    pocket = family("pocket")
    tokens = pocket.glance(size).tokens
    if question.kind == "coarse":
        return {"tool": None, "visual_tokens": tokens}
    x0, y0, x1, y1 = question.evidence
    around = Box(x0=x0 - CROP_MARGIN, y0=y0 - CROP_MARGIN, x1=x1 + CROP_MARGIN, y1=y1 + CROP_MARGIN).clipped(size)
    assert around is not None, "evidence lies inside its picture"
    crop = View.whole(size).crop(around)
    return {"tool": "zoom_crop", "visual_tokens": tokens + pocket.tokens(pocket.full(crop.size))}


def write_pocket_vqa(
    out: Path,
    n: int,
    seed: int,
    split: Split = "train",
    format: Literal["jsonl", "parquet"] = "jsonl",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes n questions and their pictures into the folder `out`; returns the path of the rows.

    Beside the rows stand README.md, a dataset card, and metadata.jsonl: the folder is one that `datasets.load_dataset`
    reads, and that can be pushed to a hub as it is.

    Rows: `{"id", "images": [path from `out`], "question", "answer", "kind": "coarse"|"fine", "scene",
    "evidence": [x0, y0, x1, y1] in pixels, "sufficient": {"tool", "visual_tokens"}}`. The same arguments give the same
    bytes.

    Raises `ConfigError` where `out` cannot be written, or parquet is asked for without pyarrow.
    """
    if n < 1:
        raise ConfigError(f"{n} questions cannot be written: ask for 1 or more")
    arrow = _arrow() if format == "parquet" else None
    rows: list[dict[str, Any]] = []
    sizes: list[tuple[int, int]] = []
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
        for row, scene in pocket_rows(n, seed, split):
            scene.image.save(out / row["images"][0], format="PNG", compress_level=6)
            rows.append(row)
            sizes.append(scene.image.size)
            if progress:
                progress(len(rows), n)
        path = out / f"rows.{format}"
        if arrow:
            arrow.parquet.write_table(arrow.Table.from_pylist(rows), path)
        else:
            _write_lines(path, rows)
        _write_lines(out / "metadata.jsonl", map(_for_imagefolder, rows))
        (out / "README.md").write_text(dataset_card(rows, sizes, seed, split, path.name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {out} ({error.strerror}): give a folder that can be written") from error
    return path


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _for_imagefolder(row: dict[str, Any]) -> dict[str, Any]:
    """The row as `datasets`' imagefolder wants it, which makes a column `images` of the files named here."""
    return {"file_names" if name == "images" else name: value for name, value in row.items()}


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "parquet needs pyarrow: pip install 'agentic-vision[batch]', or use --format jsonl"
        ) from error
    return pyarrow
