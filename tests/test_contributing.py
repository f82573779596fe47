"""What is said to contributors is so: paths exist, the map is whole, and CI, hooks and pages give the same commands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentic_vision import __version__

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETTING_UP = ("python3 -m venv", "pip install", ".venv/bin/pip install")

yaml = pytest.importorskip("yaml", reason="needs the extra: pip install 'agentic-vision[train]'")


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def shell(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    return [command.strip() for block in blocks for line in block.splitlines() for command in line.split("&&")]


def workflow_commands() -> list[str]:
    jobs = read(".github/workflows/ci.yml")["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_every_path_that_is_named_exists() -> None:
    named = [said for said in re.findall(r"`([\w./-]+)`", CONTRIBUTING) if "/" in said or re.search(r"\.\w+$", said)]
    modules = {path.name for path in (ROOT / "agentic_vision").glob("*.py")} | {
        path.name for path in (ROOT / "training").glob("*.py")
    }
    elsewhere = {"agentic_vision.tools", "agentic_vision.training", "agentic_vision.commands", "command.py", "dist/"}
    assert len(named) > 60
    gone = [path for path in named if not (ROOT / path).exists() and path not in modules | elsewhere]
    assert gone == []


def test_the_map_names_every_package() -> None:
    rooms = set(re.findall(r"`([\w/]+)/`", CONTRIBUTING[: CONTRIBUTING.index("Who may import whom")]))
    packages = PROJECT["tool"]["setuptools"]["packages"]
    folders = {name.replace(".", "/") for name in packages}
    folders = {re.sub("^agentic_vision/(tools|training)", r"\1", folder) for folder in folders}
    assert folders <= rooms
    assert all((ROOT / room).is_dir() for room in rooms)


def test_ci_runs_what_contributors_run() -> None:
    asked = [line.replace(".venv/bin/", "") for line in shell("CONTRIBUTING.md") if not line.startswith(SETTING_UP)]
    assert asked == ["ruff check .", "ruff format --check .", "mypy", "pytest", "mkdocs build --strict"]
    run = workflow_commands()
    assert set(asked) <= set(run)
    install = "pip install -c constraints.txt -e '.[dev]'"
    assert install in run
    for page in ("README.md", "CONTRIBUTING.md"):
        assert f".venv/bin/{install}" in shell(page)
    assert ".venv/bin/pytest" in shell("README.md")


def test_the_workflow_may_only_read_and_tries_every_python_that_is_promised() -> None:
    workflow = read(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
    assert all("permissions" not in job and job["timeout-minutes"] for job in workflow["jobs"].values())
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == promised
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


def test_what_ci_asks_of_a_wheel_is_an_extra() -> None:
    (command,) = (run for run in workflow_commands() if run.startswith("python benchmarks/extras.py"))
    extras = re.split(r"dist/\*\.whl ", command)[1].split()
    assert extras[0] == "core"
    assert set(extras[1:]) <= set(PROJECT["project"]["optional-dependencies"])


def test_hooks_run_what_is_installed_or_what_is_pinned() -> None:
    local: list[str] = []
    for repo in read(".pre-commit-config.yaml")["repos"]:
        if repo["repo"] == "local":
            assert all(hook["language"] == "system" for hook in repo["hooks"])
            local += [hook["entry"] for hook in repo["hooks"]]
        else:
            assert re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"])
    assert local == ["ruff check .", "ruff format --check .", "mypy"]
    assert set(local) <= set(workflow_commands())


def test_one_version_is_told_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert version == __version__
    assert read("CITATION.cff")["version"] == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *_ = re.findall(r"^## \[(.+?)\]", changes, re.M)
    assert first == "Unreleased"
    assert f"## [{version}]" in changes or f"This will be {version}" in changes


def test_the_citation_names_the_papers_whose_methods_are_here() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["project"]["license"]
    cited = {paper["identifiers"][0]["value"].removeprefix("arXiv:") for paper in citation["references"]}
    related = (ROOT / "docs" / "explanation" / "related_work.md").read_text(encoding="utf-8")
    assert cited == set(re.findall(r"^\| \[\w+\]\(https://arxiv.org/abs/([\d.]+)\)", related, re.M))


@pytest.mark.parametrize("text", ["CHANGELOG.md", "CONTRIBUTING.md"])
def test_commands_that_are_named_exist(text: str) -> None:
    from typer.main import get_command

    from agentic_vision.cli import app

    command: Any = get_command(app)
    for said in _commands((ROOT / text).read_text(encoding="utf-8")):
        assert command.get_command(None, said) is not None, said


def _commands(text: str) -> Iterator[str]:
    yield from re.findall(r"`agentic-vision\s([\w-]+)", text)
