"""What does the folder of a PocketVQA say of itself? README.md, the hub's dataset card, made of the rows in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agentic_vision import __version__

from .ink import Split

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_CARD = """\
---
license: apache-2.0
pretty_name: PocketVQA
language: [en]
task_categories: [visual-question-answering]
size_categories: [{size}]
tags: [synthetic, visual-tokens, tool-use]
configs:
  - config_name: default
    data_files:
      - split: {split}
        path: [metadata.jsonl, "images/*.png"]
---

# PocketVQA, {n} questions of the {split} split

Drawn pictures with a question each. A part can be answered from a glance at a quarter of the visual tokens, a part
cannot: for learning, and for measuring, when a second look pays.

```python
from pathlib import Path

from datasets import load_dataset

rows = load_dataset(str(Path().absolute()), split="{split}")  # in this folder; else its path, or its name on the hub
print(rows[0]["question"], rows[0]["answer"], rows[0]["images"][0].size)
```

## How it was made

```sh
agentic-vision data pocket OUT --n {n} --seed {seed} --split {split}{form}
```

by agentic-vision {version}. The same version, seed, split and n give the same bytes, wherever the same Pillow draws
them, and a longer set of the same seed begins with the shorter one. Nothing in it was collected: pictures, questions
and answers are all computed.

## What is in it

| scene | coarse | fine |
|---|---|---|
{table}

*Coarse* questions ask for colour, count, place or order, and a glance is enough. *Fine* ones ask for print whose
characters are 7 to 9 pixels high: a quarter of the visual tokens has lost it.

| field | what it is |
|---|---|
| `id` | split, seed and number |
| `images` | one picture, {widths} pixels wide and {heights} high, PNG, RGB |
| `question`, `answer` | texts; answers are a word, a number or a few words |
| `kind` | `coarse` or `fine` |
| `scene` | {scenes} |
| `evidence` | the box that the answer is read from: x0, y0, x1, y1 in pixels |
| `sufficient` | the cheapest way to the answer: a `tool`, or none, and all `visual_tokens` in the family `pocket` |

`{rows}` holds the rows as `agentic-vision eval` reads them; `metadata.jsonl` the same for the imagefolder of
`datasets`, with the paths of the images under `file_names`.

## The splits

`train` and `heldout` differ in their seeds and in what they show: one number in seven is an answer, and one pair of
colour and shape in four is drawn, in `heldout` alone. The axis of a chart may show any number.

## Limits

Four kinds of scene, one font, English questions of fixed wording, pictures of at most 224 x 224 pixels. A model that is
good at them has learnt these pictures, and when to look at them; that says nothing of photographs or of documents.

## Licence and citation

Apache-2.0, as the library that draws it.

```bibtex
@software{{agentic_vision,
  author = {{{{agentic-vision contributors}}}},
  title = {{agentic-vision}},
  version = {{{version}}}
}}
```
"""


def dataset_card(
    rows: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]], seed: int, split: Split, file: str
) -> str:
    """The text of README.md. `sizes`: the pixel sizes of the pictures; `file`: the name of what holds the rows."""
    n = len(rows)
    counted = Counter((row["scene"], row["kind"]) for row in rows)
    scenes = sorted({scene for scene, _ in counted})
    widths, heights = zip(*sizes, strict=True)
    return _CARD.format(
        size=next((name for below, name in _SIZES if n < below), "1M<n<10M"),
        n=n,
        seed=seed,
        split=split,
        form=" --format parquet" if file.endswith(".parquet") else "",
        version=__version__,
        table="\n".join(f"| {scene} | {counted[scene, 'coarse']} | {counted[scene, 'fine']} |" for scene in scenes),
        widths=_between(widths),
        heights=_between(heights),
        scenes=", ".join(f"`{scene}`" for scene in scenes),
        rows=file,
    )


def _between(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
