"""The examples run as they stand, on the checkpoint that ships with the package."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from server_client import until

from agentic_vision.policies.embedded import EmbeddedPolicy

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def embedded() -> EmbeddedPolicy:
    return EmbeddedPolicy.load()


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: EmbeddedPolicy) -> Path:
    """A copy of the examples to write beside; the checkpoint is loaded once for all tests here."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EmbeddedPolicy, "load", lambda: embedded)
    return tmp_path


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")


def test_the_receipt_is_drawn_by_its_script(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(at_home / "examples" / "make_receipt.py", monkeypatch, str(at_home / "drawn.png"))
    assert "What is the total? 25.15" in capsys.readouterr().out
    with Image.open(at_home / "drawn.png") as drawn, Image.open(ROOT / "examples" / "receipt.png") as shipped:
        assert drawn.size == shipped.size


def test_a_question_is_asked_of_the_receipt(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(at_home / "examples" / "ask_receipt.py", monkeypatch, "What color is the logo?")
    said = capsys.readouterr().out
    assert "image 1: 80 x 96 pixels of (0.0, 0.0, 160.0, 192.0)" in said
    assert "visual tokens instead of 120" in said


def test_a_tool_of_ones_own_is_called(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(at_home / "examples" / "own_tool.py", monkeypatch)
    assert capsys.readouterr().out.splitlines() == [
        "half({'which': 'bottom'}) showed (0.0, 96.0, 160.0, 192.0)",
        "25.15",
    ]


@pytest.mark.parametrize("name", ["openai_endpoint.py", "serve_and_ask.py", "langgraph_node.py"])
def test_the_agent_is_put_in_front_and_behind(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.syspath_prepend(str(at_home / "examples"))
    run(at_home / "examples" / name, monkeypatch)
    said = capsys.readouterr().out
    assert "25.15" in said
    assert "50 visual tokens" in said


def test_a_server_that_warns_first_and_says_much_later_is_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "talkative"
    program.write_text(
        "#!/bin/sh\necho 'a warning: see http://help.example/v1' >&2\n"
        "echo 'agentic-vision serves m on http://127.0.0.1:1/v1' >&2\n"
        f"head -c 300000 /dev/zero | tr '\\0' 'x' >&2\necho done > {tmp_path}/said\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    served = runpy.run_path(str(ROOT / "examples" / "served.py"))["served"]
    with served() as address:
        assert address == "http://127.0.0.1:1/v1"
        until((tmp_path / "said").exists)
    assert "a warning" in capfd.readouterr().err
