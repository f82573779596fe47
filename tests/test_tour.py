"""The notebook of the tour runs from its first cell to its last, and shows what it says it shows."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from agentic_vision import VisionAgent

TOUR = Path(__file__).parent.parent / "examples" / "tour.ipynb"
NOTEBOOK = json.loads(TOUR.read_text(encoding="utf-8"))


async def run(cell: str, names: dict[str, Any]) -> tuple[Any, str]:
    """As a notebook does: within a running loop, `await` anywhere; what it shows of the last line, and prints."""
    tree = ast.parse(cell)
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and not isinstance(last.value, ast.Await):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last.value)
    names["_"] = None
    code = compile(ast.fix_missing_locations(tree), TOUR.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with redirect_stdout(io.StringIO()) as printed:
        done = eval(code, names)
        if inspect.isawaitable(done):
            await done
    return names["_"], printed.getvalue()


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: VisionAgent) -> None:
    shutil.copy(TOUR.with_name("receipt.png"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agentic_vision.policies.embedded.EmbeddedPolicy.load", lambda: embedded.policy)
    names: dict[str, Any] = {"__name__": "tour"}

    async def all_cells() -> list[tuple[Any, str]]:
        cells = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
        return [await run(cell, names) for cell in cells]

    done = asyncio.run(all_cells())
    results = [shown for shown, _ in done if hasattr(shown, "_repr_html_")]
    assert [result.answer for result in results[:3]] == ["25.15", "green", "25.15"]
    assert all("data:image" in result._repr_html_() for result in results)
    assert (tmp_path / "trace.html").is_file()
    first, budget, rewards, evaluation = (printed.splitlines() for _, printed in done if printed)
    assert first[:2] == ["25.15 answered", "50 visual tokens, 120 at full resolution"]
    assert budget[0].endswith("token_budget 30")
    won = {line.split()[0]: float(line.split()[-1]) for line in rewards}
    assert won["agent"] > won["full"] > won["glance"]
    right = {line.split()[0]: int(line.split()[1].rstrip("%")) for line in evaluation}
    assert right["agent"] > right["glance"]


def test_the_tour_is_a_notebook_without_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_tour_is_valid() -> None:
    """By the format's own schema."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra: pip install 'agentic-vision[dev]'")
    nbformat.validate(nbformat.from_dict(NOTEBOOK))
