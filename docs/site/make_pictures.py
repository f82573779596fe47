"""Draws the pictures of the page about coordinates, every number on them by the library's own arithmetic.

    python docs/site/make_pictures.py [FOLDER]

It needs the extra `eval`, for matplotlib. FOLDER is `docs/explanation` unless given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from PIL import Image

from agentic_vision import Box, Source, View, family

DOCS = Path(__file__).parent.parent
SIZE = (1200, 900)  # of the photograph
TOTAL = Box(x0=696, y0=546, x1=920, y1=702)  # where the total stands on it
RIGHT, WRONG = "#00796b", "#d84315"


def photograph() -> Image.Image:
    """The receipt of the examples, four times as large, on a table."""
    table = Image.new("RGB", SIZE, "#b9a58c")
    with Image.open(DOCS.parent / "examples" / "receipt.png") as receipt:
        large = receipt.convert("RGB").resize((640, 768), Image.Resampling.NEAREST)
    table.paste(large, (280, 66))
    return table


def one_box(folder: Path) -> None:
    """One region of one photograph, as two families write it, and what becomes of it when they are mixed up."""
    source = Source.open(photograph())
    figure, axes = plt.subplots(2, 2, figsize=(10, 8.4))
    _show(axes[0, 0], photograph(), "the photograph, 1200 x 900 pixels")
    _frame(axes[0, 0], TOTAL.as_tuple(), RIGHT, _written(TOTAL.as_tuple()))
    said: dict[str, Any] = {}
    for axis, name, unit in ((axes[0, 1], "qwen2.5-vl", "in pixels"), (axes[1, 0], "qwen3-vl", "in per mille")):
        model = family(name)
        view = View.whole(SIZE, model.glance(SIZE).size)
        width, height = view.size
        corners = view.from_source(TOTAL)
        fractions = (corners[0] / width, corners[1] / height, corners[2] / width, corners[3] / height)
        said[name] = view, model.from_fractions(fractions, view.size)
        tokens = model.tokens(view.size)
        _show(axis, view.render(source), f"{name}: glance {width} x {height}, {tokens} tokens; boxes {unit}")
        _grid(axis, view.size, model.cell)
        _frame(axis, corners, RIGHT, _written(said[name][1]))
    figure.subplots_adjust(left=0.04, right=0.99, bottom=0.03, top=0.97, wspace=0.1, hspace=0.12)
    _mixed_up(axes[1, 1], *said["qwen2.5-vl"])
    _save(figure, folder / "one_box.png", 80)


def _mixed_up(axis: Any, view: View, written: tuple[int, int, int, int]) -> None:
    """Pixels of Qwen2.5-VL's glance, read as if they were Qwen3-VL's per mille."""
    fractions = family("qwen3-vl").to_fractions(written, view.size)
    wrong = tuple(round(side * SIZE[at % 2]) for at, side in enumerate(fractions))
    _show(axis, photograph(), "Qwen2.5-VL's pixels, read as per mille: the wrong place")
    _frame(axis, TOTAL.as_tuple(), RIGHT, "meant")
    _frame(axis, wrong, WRONG, f"{_written(written)} as per mille")


def grids(folder: Path) -> None:
    """What six families make of the same photograph, and the squares in which they count it."""
    chosen = {
        "qwen2.5-vl": 28,
        "qwen3-vl": 32,
        "claude": 28,
        "openai-patches": 32,
        "openai-tiles": 512,
        "llava-1.5": 14,
    }
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.6))
    for axis, (name, side) in zip(axes.flat, chosen.items(), strict=True):
        model = family(name)
        size = model.full(SIZE)
        image = photograph().resize(size, Image.Resampling.BILINEAR)
        glance = model.glance(SIZE)
        width, height = size
        _show(
            axis,
            image,
            f"{name}: {width} x {height} pixels\nsquares of {side}: {model.tokens(size):,} tokens\n"
            f"glance {glance.size[0]} x {glance.size[1]}: {glance.tokens:,}",
        )
        _grid(axis, size, side)
    figure.subplots_adjust(left=0.04, right=0.99, bottom=0.04, top=0.91, wspace=0.15, hspace=0.35)
    _save(figure, folder / "grids.png", 72)


def _save(figure: Any, path: Path, dpi: int) -> None:
    """The PNG, and in it what is written on it, so that a test can tell whether it is still so."""
    axes = [axis for axis in figure.axes if axis.has_data()]
    said = [[axis.get_title(), *(text.get_text() for text in axis.texts)] for axis in axes]
    figure.savefig(path, dpi=dpi, metadata={"Description": json.dumps(said)}, pil_kwargs={"optimize": True})
    plt.close(figure)


def _show(axis: Any, image: Image.Image, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)


def _grid(axis: Any, size: tuple[int, int], side: int) -> None:
    line = {"colors": "#26323888", "linewidths": 1.5 if side > 100 else 0.35}
    axis.vlines([x - 0.5 for x in range(side, size[0], side)], -0.5, size[1] - 0.5, **line)
    axis.hlines([y - 0.5 for y in range(side, size[1], side)], -0.5, size[0] - 0.5, **line)


def _frame(axis: Any, corners: tuple[float, ...], color: str, text: str) -> None:
    x0, y0, x1, y1 = corners
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=2.5))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    below = y1 + axis.get_ylim()[0] * 0.02
    left = x0 < axis.get_xlim()[1] / 2  # so that the words stay in the picture
    axis.text(
        x0 if left else x1,
        below,
        text,
        color=color,
        fontsize=9,
        weight="bold",
        bbox=box,
        va="top",
        ha="left" if left else "right",
    )


def _written(corners: tuple[float, ...]) -> str:
    return f"[{', '.join(str(round(side)) for side in corners)}]"


if __name__ == "__main__":
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "explanation"
    one_box(into)
    grids(into)
