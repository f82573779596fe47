"""Whatever is wrong with a command, is it told on one line, with the mend? No traceback, no half-drawn bar."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentic_vision.cli import app

MISTAKES = {
    "tools extra": "unexpected extra argument",
    "doctor --colour": "see agentic-vision doctor --help",
    "ask a.png Q? --base-url http://x/v1": "there is no file a.png",
    "ask {picture} Q? --base-url http://x/v1": "name its model, --policy MODEL",
    "ask {picture} Q? --max-turns many": "see agentic-vision ask --help",
    "ask {picture} Q? --policy ./nowhere": "there is no checkpoint folder nowhere",
    "serve --base-url http://x/v1": "name its model, --policy MODEL",
    "serve --port 99999": "see agentic-vision serve --help",
    "serve --port {taken}": "cannot listen on 127.0.0.1 port {taken} (Address already in use): give another --port",
    "serve --host 192.0.2.1": "or a --host that is this machine's",
    "mcp --http --port {taken}": "cannot listen on 127.0.0.1 port {taken} (Address already in use)",
    "mcp --base-url http://x/v1": "name its model, --policy MODEL",
    "mcp --root {file}": "is not a folder",
    "mcp --family nothing": "choose one of",
    "batch nowhere.jsonl --out a.jsonl": "there is no file nowhere.jsonl",
    "batch {file} --out {folder}": "is no file",
    "batch {file}": "Missing option '--out'",
    "batch {file} --out a.jsonl --base-url http://x/v1": "name its model, --policy MODEL",
    "batch-files {file} --out {file} --policy m": "is a file: see agentic-vision batch-files --help",
    "eval {file} --out {file}": "is a file: see agentic-vision eval --help",
    "eval {file} --out {folder}/out --base-url http://x/v1": "name its model, --policy MODEL",
    "eval --compare nowhere nowhere": "give the --out of `agentic-vision eval`",
    "report {folder}": "holds neither an evaluation nor a training run",
    "report nowhere": "give the --out of `agentic-vision eval`",
    "judge --scoring nothing": "choose from exact",
    "data nothing": "No such command 'nothing'",
    "data pocket out --split test": "is not one of 'train', 'heldout'",
    "data pocket {file} --n 1": "give a folder that can be written",
    "data difficulty {file} {file}": "is a file: see agentic-vision data difficulty --help",
    "data difficulty {file} out --glance 7": "see agentic-vision data difficulty --help",
    "data verl nowhere.jsonl out.parquet": "cannot read nowhere.jsonl",
    "data verl {file} out.parquet --recipe nothing": "choose from",
    "train": "name a recipe",
    "train nothing --out {folder}/run": "there is no recipe 'nothing': choose from",
    "train pocket_smoke": "--out DIR",
    "train pocket_smoke --out {file}": "is a file: see agentic-vision train --help",
    "train pocket_smoke nonsense --out {folder}/run": "write key=value",
    "curves {file}": "give a folder that `agentic-vision train` wrote",
    "sweep nothing": "choose from",
    "sweep figure_3a --out {file}": "is a file: see agentic-vision sweep --help",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "rows.jsonl").write_text("{}\n")
    Image.new("RGB", (64, 64)).save(folder / "picture.png")
    return {"folder": folder, "file": folder / "rows.jsonl", "picture": folder / "picture.png"}


def run(command: str) -> Result:
    return CliRunner().invoke(app, shlex.split(command))


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line_with_the_mend(
    places: dict[str, object], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(str(places["folder"]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {**places, "taken": taken.getsockname()[1]}
        result = run(command.format(**known))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    told = " ".join(result.stderr.split())
    assert MISTAKES[command].format(**known) in told
    assert result.stderr.count("\n") == 1, result.stderr
    assert told.startswith("agentic-vision: ")


def test_a_warning_is_one_line_too(places: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    result = run(f"ask {places['picture']} Q? --policy a-model-of-mine --base-url nonsense")
    warned, failed = result.stderr.splitlines()
    assert warned.startswith("agentic-vision: warning: nothing is known of the model 'a-model-of-mine'")
    assert failed == "agentic-vision: base_url='nonsense' is no address: begin it with http:// or https://"


@pytest.mark.parametrize(
    ("missing", "command", "mend"),
    [
        ("fastapi", "serve", "pip install 'agentic-vision[serve]'"),
        ("mcp", "mcp", "pip install 'agentic-vision[mcp]'"),
        ("verl", "train pocket_smoke --dry-run", "pip install 'agentic-vision[train]'"),
        ("yaml", "train pocket_smoke --out run", "yaml is not installed: `agentic-vision doctor` says"),
    ],
)
def test_a_missing_package_is_one_line_with_the_extra(missing: str, command: str, mend: str, tmp_path: Path) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom agentic_vision.cli import main\nmain()"
    words = [sys.executable, "-c", program, *shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert mend in done.stderr
    assert done.stderr.count("\n") == 1
