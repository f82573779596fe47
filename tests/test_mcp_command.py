"""How the MCP server is started: its options, the roots it may read, and the example."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentic_vision.errors import ConfigError

pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")

from mcp_caller import COMMAND, ROOT

from agentic_vision.mcp.roots import Roots


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--root", "absent"], "the root absent is not a folder"),
        (["--family", "qwen9"], "no model family is called 'qwen9'"),
        (["--tools", "zoom"], "there is no tool 'zoom'"),
        (["--base-url", "http://localhost:8000/v1"], "name its model, --policy MODEL"),
    ],
)
def test_a_wrong_option_ends_it_with_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentic_vision.cli import app

    with pytest.raises(SystemExit) as ended:
        app(["mcp", *options])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_the_whole_machine_is_no_default_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentic_vision.cli import app

    monkeypatch.chdir("/")
    with pytest.raises(SystemExit):
        app(["mcp"])
    assert "say which, --root DIR" in capsys.readouterr().err


def test_several_roots_are_searched_in_order(readable: Path, tmp_path: Path) -> None:
    shutil.copy(readable / "a plan.png", tmp_path / "receipt.png")
    assert Roots([readable, tmp_path]).open("receipt.png")[0].size == (160, 192)
    assert Roots([tmp_path, readable]).open("receipt.png")[0].size == (2400, 1600)
    assert Roots([tmp_path, readable]).open("photo.png")[0].size == (1200, 900)
    assert Roots([readable, readable.parent]).open("link.png")[0].size == (2400, 1600)
    with pytest.raises(ConfigError, match="not a folder"):
        Roots([readable / "receipt.png"])


LOUD = '''
from agentic_vision import View, visual_tool
print("loaded", flush=True)

@visual_tool
def loud(view: View) -> str:
    """Say it aloud."""
    print("called", flush=True)
    return "said"
'''


def test_what_a_tool_prints_does_not_reach_the_client(readable: Path, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    about = tmp_path / "loud-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: loud\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[agentic_vision.tools]\nloud = loud:loud\n")
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"name": "loud", "arguments": {"image": "receipt.png"}, "_meta": meta}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    with subprocess.Popen(
        [*COMMAND, "--root", readable, "--tools", "loud"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.write(request + "\n")
        server.stdin.flush()
        said = json.loads(server.stdout.readline())
        _, errors = server.communicate(timeout=60)
    assert said["result"]["content"][0]["text"] == "said"
    assert errors.split() == ["loaded", "called"]


def test_the_example_runs() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/mcp_client.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [
        "tools: glance zoom_crop full_res resize ask",
        "glance: view 1 (receipt.png, 160 x 192 pixels: all of it, shown at 80 x 96; 30 visual tokens, of 120 at "
        "full resolution)",
        "zoom_crop: view 2 (receipt.png, 160 x 192 pixels: its part [0, 96, 160, 192], shown at 160 x 96; 60 visual "
        "tokens)",
        "ask: 25.15",
        "50 visual tokens instead of 120",
    ]
