"""The command line beside packages of other authors: what they add, and what they cannot break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import in_a_shell, run
from endpoint_agent import RECEIPT

from agentic_vision import VisionAgent
from agentic_vision.play.agents import Agents


def plugin(folder: Path, name: str, target: str, group: str = "agentic_vision.commands") -> None:
    """An installed package of another author, as far as importlib.metadata can tell."""
    info = folder / f"their_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_an_installed_package_adds_commands(site: Path) -> None:
    (site / "their_greeting.py").write_text(
        "import typer\nfrom agentic_vision import ConfigError\napp = typer.Typer(help='Say hello.')\n"
        "@app.command()\ndef hello(): print('hello')\n"
        "@app.command()\ndef fail(): raise ConfigError('mend\\nthis')\n"
    )
    plugin(site, "greet", "their_greeting:app")
    assert "Say hello." in run("--help").stdout
    assert run("greet", "hello").stdout == "hello\n"
    failed = run("greet", "fail")
    assert (failed.exit_code, failed.stderr) == (2, "agentic-vision: mend this\n")


def test_what_the_library_logs_and_warns_of_reaches_the_user_of_a_command(site: Path) -> None:
    (site / "their_worry.py").write_text(
        "import logging, typer, warnings\napp = typer.Typer()\n"
        "@app.command()\ndef worry():\n"
        "    logging.getLogger('agentic_vision.judge_cache').info('all is well')\n"
        "    logging.getLogger('agentic_vision.judge_cache').warning('the cache %s is lost', 'c')\n"
        "    warnings.warn('the price is not known')\n"
    )
    plugin(site, "worry", "their_worry:app")
    told = "agentic-vision: the cache c is lost\nagentic-vision: warning: the price is not known\n"
    for _ in range(2):  # and is let go of afterwards
        assert run("worry").stderr == told


def test_a_broken_package_is_a_warning_until_it_is_asked_for(site: Path) -> None:
    plugin(site, "broken", "not_there:app")
    shown = run("--help")
    assert shown.exit_code == 0
    assert "ask" in shown.stdout
    assert set(shown.stderr.splitlines()) == {
        "agentic-vision: warning: the command 'broken' of their-broken cannot be loaded "
        "(No module named 'not_there'): update or uninstall their-broken"
    }
    asked = run("broken", "anything")
    assert asked.exit_code == 2
    assert asked.stderr.count("\n") == 1


def test_a_broken_tool_does_not_hide_the_others(site: Path) -> None:
    plugin(site, "blur", "not_there:blur", group="agentic_vision.tools")
    result = run("tools", "--json")
    assert result.exit_code == 0
    assert "zoom_crop" in result.stdout
    assert "blur" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_tool_that_two_packages_have_is_told_with_both_names(site: Path, embedded: VisionAgent) -> None:  # noqa: ARG001 (it skips where torch is missing)
    plugin(site, "rotate", "agentic_vision.tools.rotate:rotate", group="agentic_vision.tools")
    result = run("tools", "--json")
    assert result.exit_code == 0
    assert "rotate" not in [tool["name"] for tool in json.loads(result.stdout)["tools"]]
    assert "agentic-vision and their-rotate each have a tool 'rotate': uninstall all but one" in result.stderr
    asked = run("ask", RECEIPT, "What is the total?", "--tools", "rotate")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "agentic-vision and their-rotate each have a tool 'rotate'" in asked.stderr
    assert run("ask", RECEIPT, "What is the total?", "--tools", "zoom_crop").exit_code == 0  # the others work as ever


def test_what_a_module_prints_when_it_is_loaded_is_not_on_our_stdout(site: Path, embedded: VisionAgent) -> None:  # noqa: ARG001 (as above)
    told = "import sys\nprint('printed')\nsys.__stdout__.write('kept\\n')\n"
    (site / "their_talk.py").write_text(f"{told}from agentic_vision.tools.rotate import rotate\n")
    plugin(site, "talk", "their_talk:rotate", group="agentic_vision.tools")
    for command in (["tools", "--json"], ["ask", RECEIPT, "What is it?", "--tools", "talk", "--json"]):
        done = in_a_shell(*command, path=site)
        assert done.returncode == 0
        json.loads(done.stdout)  # and nothing else
        assert {"printed", "kept"} <= set(done.stderr.split())


def test_a_package_that_ends_the_process_ends_no_command(site: Path, embedded: VisionAgent) -> None:
    (site / "their_end.py").write_text("raise SystemExit(3)\n")
    plugin(site, "end", "their_end:tool", group="agentic_vision.tools")
    listed = run("tools", "--json")
    assert (listed.exit_code, "update or uninstall their-end" in listed.stderr) == (0, True)
    assert "end" not in Agents(embedded).offered
    plugin(site, "leave", "their_end:app")
    shown = run("--help")
    assert (shown.exit_code, "update or uninstall their-leave" in shown.stderr) == (0, True)
