"""The command line as a new user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import in_a_shell, run
from PIL import Image

from agentic_vision.cli_options import policy_identity
from agentic_vision.cli_output import plain
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write

CROP = write(thought="It is too small\x1b[2J to read here.", calls=[("zoom_crop", {"bbox_2d": [500, 500, 900, 800]})])
OUTSIDE = write(calls=[("zoom_crop", {"bbox_2d": [1500, 1500, 1900, 1900]})])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (256, 192), "white").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model says, in place of the embedded checkpoint: tests fill it in."""
    replies: list[str] = []
    monkeypatch.setattr(EmbeddedPolicy, "load", lambda: ScriptedPolicy(replies, family="pocket"))
    return replies


def test_ask_answers_first_and_then_says_what_it_looked_at(picture: Path, says: list[str]) -> None:
    says += [CROP, write(thought="I can see it.", answer="41.70")]
    result = run("ask", picture, "What is the total?")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "41.70"
    assert "glance    whole picture, 128 x 96 px, 48 tokens" in result.stdout
    assert "zoom_crop box 128,96 to 231,154" in result.stdout
    assert "192 at full resolution" in result.stdout
    assert "“It is too small\N{REPLACEMENT CHARACTER}[2J to read here.”" in result.stdout
    assert result.stderr == ""


def test_ask_as_json_is_one_object_with_the_promised_fields(picture: Path, says: list[str]) -> None:
    says += [OUTSIDE, CROP, write(answer="41.70")]
    result = run("ask", picture, "What is the total?", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert set(told) == {"answer", "stop_reason", "turns", "tool_calls", "usage"}
    assert (told["answer"], told["stop_reason"], told["turns"]) == ("41.70", "answered", 3)
    refused, made = told["tool_calls"]
    assert (refused["name"], refused["arguments"], refused["ok"]) == (
        "zoom_crop",
        {"bbox_2d": [1500, 1500, 1900, 1900]},
        False,
    )
    assert "outside" in refused["error"]
    assert (made["ok"], made["error"]) == (True, None)
    assert set(told["usage"]) == {
        "visual_tokens",
        "full_resolution_tokens",
        "saved",
        "input_tokens",
        "output_tokens",
        "requests",
    }
    assert told["usage"]["saved"] == 1 - told["usage"]["visual_tokens"] / told["usage"]["full_resolution_tokens"]


def test_no_answer_is_exit_code_1(picture: Path, says: list[str]) -> None:
    says += [CROP]
    told = run("ask", picture, "What is the total?", "--max-turns", "1", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["stop_reason"] == "turn_limit"
    assert json.loads(told.stdout)["tool_calls"][0]["error"] == "not run: turn_limit"
    shown = run("ask", picture, "What is the total?", "--max-turns", "1")
    assert shown.exit_code == 1
    assert shown.stdout.startswith("no answer: turn limit")


def test_a_question_may_be_long(picture: Path, says: list[str]) -> None:
    says += [write(answer="7")]
    assert run("ask", picture, "What is the total of all that was bought? " * 20).exit_code == 0


def test_ask_writes_a_trace(picture: Path, says: list[str], tmp_path: Path) -> None:
    says += [write(answer="41.70")]
    result = run("ask", picture, "What is the total?", "--trace", tmp_path / "trace.html")
    assert result.exit_code == 0
    assert "41.70" in (tmp_path / "trace.html").read_text()


def test_options_reach_the_agent(picture: Path, says: list[str]) -> None:
    says += [CROP, write(answer="7")]
    assert json.loads(run("ask", picture, picture, "Q?", "--json").stdout)["usage"]["full_resolution_tokens"] == 384
    refused = json.loads(run("ask", picture, "Q?", "--tools", "full_res, rotate", "--json").stdout)
    assert "zoom_crop" in refused["tool_calls"][0]["error"]
    frugal = json.loads(run("ask", picture, "Q?", "--max-visual-tokens", "50", "--json").stdout)
    assert frugal["usage"]["visual_tokens"] <= 50


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ask", "nowhere.png", "What?"], "there is no file nowhere.png: check the path"),
        (["ask", "{text}", "What?"], "notes.jpg is not an image that can be read: give a"),
        (["ask", "{picture}", " "], "the question is empty: put it last, in quotes"),
        (["ask", "{picture}"], "picture.png is a file): put it last, in quotes"),
        (["ask", "What?"], "there is no image: agentic-vision ask picture.png"),
        (["ask", "{picture}", "What?", "--tools", "zom_crop"], "there is no tool 'zom_crop'"),
        (
            ["ask", "{picture}", "What?", "--trace", "{folder}/nowhere/t.html"],
            "give a file in a folder that exists",
        ),
        (["ask", "{picture}", "What?", "--trace", "{folder}"], "give a file in a folder that exists"),
        (["ask", "{picture}", "What?", "--trace", "t" * 300], "(File name too long): check the path"),
        (["ask", "{picture}", "What?", "--max-turns", "0"], "see agentic-vision ask --help"),
        (["ask", "{picture}", "What?", "--colour"], "No such option: --colour"),
        (["ask", "{picture}", "What?", "--policy", "{folder}"], "{folder}"),
        (["asc"], "No such command 'asc'. Did you mean 'ask'?"),
        (["eval", "nowhere.jsonl", "--out", "{folder}/out"], "cannot read nowhere.jsonl"),
        (["eval", "{text}", "--out", "{folder}/out"], "(line 1: no JSON"),
        (["eval", "{text}"], "--out"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_mend(
    picture: Path, tmp_path: Path, says: list[str], arguments: list[str], complaint: str
) -> None:
    says += [write(answer="7")]
    text = tmp_path / "notes.jpg"
    text.write_text("These are only notes.")
    places = {"picture": picture, "text": text, "folder": tmp_path}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert complaint.format(**places) in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_mistake_in_a_shell_is_one_line_too() -> None:
    done = in_a_shell("ask", "nowhere.png", "What?")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "agentic-vision: there is no file nowhere.png: check the path\n"


def test_without_the_extra_it_says_what_to_install(picture: Path) -> None:
    done = in_a_shell("ask", picture, "What?", before="import sys; sys.modules['torch'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'agentic-vision[local]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'langgraph', 'PIL', 'matplotlib'}"
    tell = f"import atexit, sys; atexit.register(lambda: print(sorted({heavy} & set(sys.modules))))"
    done = in_a_shell("--help", before=tell)
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_tools_come_with_their_schema_and_package() -> None:
    found = {tool["name"]: tool for tool in json.loads(run("tools", "--json").stdout)["tools"]}
    assert {"zoom_crop", "full_res", "resize", "rotate", "enhance"} <= set(found)
    assert found["zoom_crop"]["package"] == "agentic-vision"
    assert found["zoom_crop"]["schema"]["properties"]["bbox_2d"]["type"] == "array"
    assert "zoom_crop" in run("tools").stdout


@pytest.mark.parametrize("asked", [[], ["--json"]])
def test_people_are_told_what_the_small_checkpoint_knows(picture: Path, asked: list[str]) -> None:
    """On a terminal, and not as JSON."""
    screen, terminal = os.openpty()
    policy = "from agentic_vision.policies.scripted import ScriptedPolicy"
    model = f"ScriptedPolicy({[write(answer='7')]!r}, family='pocket')"
    embedded = "from agentic_vision.policies.embedded import EmbeddedPolicy"
    code = f"{policy}\n{embedded}\nEmbeddedPolicy.load = lambda: {model}\nfrom agentic_vision.cli import main\nmain()"
    command = [sys.executable, "-c", code, "ask", str(picture), "What?", *asked]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=False)
    os.set_blocking(screen, False)
    os.write(terminal, b".")  # or there would be nothing to read
    said = os.read(screen, 10_000).decode()
    os.close(terminal)
    os.close(screen)
    assert done.returncode == 0, said
    assert ("--policy Qwen" in said) == (not asked)


def test_a_tool_of_ones_own_is_named_by_its_file(picture: Path, says: list[str], tmp_path: Path) -> None:
    own = tmp_path / "my_tools.py"
    source = "from agentic_vision import Box, View, visual_tool\n\n@visual_tool\ndef half(view: View) -> View:\n"
    body = "    width, height = view.source_size\n    return view.crop(Box(x0=0, y0=0, x1=width, y1=height / 2))\n"
    own.write_text(f'{source}    """See the upper half."""\n{body}')
    says += [write(calls=[("half", {})]), write(answer="7")]
    told = run("ask", picture, "What?", "--tools", f"zoom_crop, {own}:half", "--json")
    assert [(call["name"], call["ok"]) for call in json.loads(told.stdout)["tool_calls"]] == [("half", True)]
    for name, said in ((f"{own}:third", "has no third"), ("nowhere.py:whole", "cannot import nowhere.py")):
        wrong = run("ask", picture, "What?", "--tools", name)
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert said in wrong.stderr
    (tmp_path / "end.py").write_text("raise SystemExit(3)")
    assert run("ask", picture, "What?", "--tools", f"{tmp_path}/end.py:tool").exit_code == 2


def test_a_policy_is_told_from_others(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, weights in ((one, b"1"), (other, b"2")):
        folder.mkdir()
        (folder / "pytorch_model.bin").write_bytes(weights)
    ids = [policy_identity(str(folder), None).removeprefix(str(folder)) for folder in (one, other)]
    assert ids[0] != ids[1]
    assert policy_identity("Qwen/Qwen3-VL-2B-Instruct", None) == "Qwen/Qwen3-VL-2B-Instruct"
    assert policy_identity("m", "http://a/v1") != policy_identity("m", "http://b/v1")
    assert policy_identity(None, None).startswith("embedded ")


@pytest.mark.parametrize(
    "text",
    ["12\u202f500\u00a0€", "東\u3000京", "\u0645\u06cc\u200c\u062e", "👩\u200d🔬", "\u200f\u05e9\u05dc", "a\n\tb"],
)
def test_text_of_every_script_is_shown_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize("char", ["\x1b", "\x9b", "\r", "\ud800", "\ue000", "\u2028", "\u2029", "\u202e", "\u2066"])
def test_what_steers_a_terminal_is_not_sent_to_it(char: str) -> None:
    assert plain(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.usefixtures("picture")
def test_a_disk_that_fills_up_is_one_line(tmp_path: Path, says: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    says += [write(answer="7")]
    row = {"id": "a", "images": ["picture.png"], "question": "Q?", "answer": "7", "kind": "coarse"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("agentic_vision.evaluation.run.summarised", full)
    result = run("eval", tmp_path / "rows.jsonl", "--out", tmp_path / "out", "--strategy", "glance")
    assert (result.exit_code, result.stdout) == (2, "")
    told = "cannot read or write a file (No space left on device): check the path and the room on its disk"
    assert result.stderr == f"agentic-vision: {told}\n"


@pytest.mark.usefixtures("picture")
def test_eval_prints_the_figures_and_leaves_them_in_the_folder(tmp_path: Path, says: list[str]) -> None:
    says += [CROP, write(answer="7")]
    row = {"id": "a", "images": ["picture.png"], "question": "Q?", "answer": "7", "kind": "coarse"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    command = [
        "eval",
        tmp_path / "rows.jsonl",
        "--out",
        tmp_path / "out",
        "--strategy",
        "agent,glance",
        "--strategy",
        "full",
    ]
    result = run(*command, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["n"] == 1
    assert list(told["strategies"]) == ["agent", "glance", "full"]
    agent = told["strategies"]["agent"]
    assert (agent["accuracy"], agent["accuracy_coarse"], agent["accuracy_fine"]) == (1, 1, None)
    assert (agent["call_ratio"], agent["malformed"]) == (1, 0)
    assert told["strategies"]["full"]["visual_tokens_ratio"] == 1
    assert told == json.loads((tmp_path / "out" / "summary.json").read_text())
    shown = run(*command)
    assert "100.0" in shown.stdout
    assert "agent" in shown.stdout
    assert len((tmp_path / "out" / "trajectories.jsonl").read_text().splitlines()) == 3
