"""Peers that our library is measured against: one that is not to be had is told, and the others are still measured."""

import importlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

PEERS = Path(__file__).parent.parent / "benchmarks" / "peers"
PROGRAM = """\
import json, sys
from pathlib import Path
row = {"work": "counting", "unit": "ms", "ours": 1.0, "theirs": 4.0, "note": "to ten"}
Path(sys.argv[2]).write_text(json.dumps({"versions": {"counter": "2.1"}, "rows": [row], "facts": ["it counts"]}))
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/peers/run.py, as a module."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module("run")


def a_peer(run: Any, folder: Path, name: str, program: str = PROGRAM, requirements: str = "") -> Any:
    (folder / f"{name}.py").write_text(program)
    (folder / f"{name}.txt").write_text(requirements)
    return run.Peer(name, folder / f"{name}.py", folder / f"{name}.txt")


def as_text(run: Any, results: list[dict[str, Any]]) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(run.table(results))
    return console.export_text()


def test_who_cannot_be_had_is_told_and_the_others_are_measured(run: Any, tmp_path: Path) -> None:
    environments = run.Environments(tmp_path / "envs", beside=())  # empty ones: nothing is fetched
    missing = a_peer(run, tmp_path, "missing", requirements=str(tmp_path / "no-such-package"))
    broken = a_peer(run, tmp_path, "broken", program="import a_peer_that_is_not_there")
    results = [run.measured(peer, environments) for peer in (missing, broken, a_peer(run, tmp_path, "counter"))]

    assert "cannot be installed" in results[0]["skipped"]
    assert "no-such-package" in results[0]["skipped"]
    assert results[1]["skipped"] == "does not run: ModuleNotFoundError: No module named 'a_peer_that_is_not_there'"
    assert results[2]["rows"][0]["theirs"] == 4.0
    shown = as_text(run, results)
    assert "no-such-package" in shown
    assert "a_peer_that_is_not_there" in shown
    assert "counter 2.1" in shown
    assert "0.25" in shown
    assert "it counts" in shown


def test_an_environment_is_made_once(run: Any, tmp_path: Path) -> None:
    environments = run.Environments(tmp_path / "envs", beside=())
    peer = a_peer(run, tmp_path, "counter")
    python = environments.python("counter", peer.requirements)
    (python.parent.parent / "left").touch()
    assert environments.python("counter", peer.requirements) == python
    assert (python.parent.parent / "left").exists()

    peer.requirements.write_text("# another version\n")
    environments.python("counter", peer.requirements)
    assert not (python.parent.parent / "left").exists()


def test_one_that_could_not_be_installed_is_tried_again(run: Any, tmp_path: Path) -> None:
    environments = run.Environments(tmp_path / "envs", beside=())
    peer = a_peer(run, tmp_path, "counter", requirements=str(tmp_path / "no-such-package"))
    for _ in range(2):
        assert "cannot be installed" in run.measured(peer, environments)["skipped"]


def test_every_peer_has_its_program_and_its_requirements(run: Any) -> None:
    for peer in run.PEERS:
        assert peer.program.is_file()
        assert f"{peer.name}==" in peer.requirements.read_text(encoding="utf-8")
    programs = {peer.program for peer in run.PEERS}
    assert programs == set(PEERS.glob("against_*.py"))


@pytest.mark.parametrize(
    ("name", "module", "rows"),
    [
        ("langchain", "langchain_openai", 6),
        ("langchain_core", "transformers", 6),
        ("qwen_vl_utils", "qwen_vl_utils", 2),
    ],
)
def test_the_real_thing_runs(name: str, module: str, rows: int, tmp_path: Path) -> None:
    """As small as it gets, here: the figures mean nothing, that there are some does."""
    if importlib.util.find_spec(module) is None:
        pytest.skip("needs the extra: pip install 'agentic-vision[dev]'")
    out = tmp_path / "measured.json"
    subprocess.run([sys.executable, PEERS / f"against_{name}.py", "--tiny", "--out", out], check=True)
    measured = json.loads(out.read_text(encoding="utf-8"))
    assert len(measured["rows"]) == rows
    assert measured["versions"][name.replace("_", "-")]
    if name == "langchain_core":
        assert {row["ours"] for row in measured["rows"]} == {0.0}
        assert all(row["theirs"] > 0 for row in measured["rows"])
    if name == "langchain":
        sent = {row["unit"]: (row["ours"], row["theirs"]) for row in measured["rows"]}
        assert sent["requests"] == (2, 2)
        assert sent["images"] == (3, 3)  # the picture twice, the crop once
