"""Who may import whom: the rules of the house, checked on the tree as it is installed, by import-linter."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytest.importorskip("importlinter", reason="needs the extra: pip install 'agentic-vision[dev]'")

CONFIG = """\
[importlinter]
root_package = agentic_vision
include_external_packages = True

[importlinter:contract:core]
name = The core knows neither the built-in tools nor training: it finds them through entry points
type = forbidden
source_modules = {core}
forbidden_modules =
    agentic_vision.tools
    agentic_vision.training

[importlinter:contract:package]
name = Nor does the package itself
type = forbidden
as_packages = False
source_modules = agentic_vision
forbidden_modules =
    agentic_vision.tools
    agentic_vision.training

[importlinter:contract:siblings]
name = Tools and training do not know each other
type = independence
modules =
    agentic_vision.tools
    agentic_vision.training

[importlinter:contract:heavy]
name = Only local-weights policies and training import torch and transformers
type = forbidden
allow_indirect_imports = True
source_modules = {light}
forbidden_modules =
    torch
    transformers

[importlinter:contract:rl]
name = Only training.verl imports verl and ray
type = forbidden
allow_indirect_imports = True
source_modules = {not_rl}
forbidden_modules =
    verl
    ray
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip lays it out: tools/ and training/ inside agentic_vision/."""
    folder = tmp_path_factory.mktemp("installed")
    package = folder / "agentic_vision"
    only_python = shutil.ignore_patterns("__pycache__", "embedded_checkpoint", "open_decision")
    shutil.copytree(ROOT / "agentic_vision", package, ignore=only_python)
    for name in ("tools", "training"):
        shutil.copytree(ROOT / name, package / name, ignore=only_python)
    return folder


def children(package: Path, prefix: str) -> list[str]:
    """The modules and packages right under a package, by their dotted names."""
    return sorted(
        f"{prefix}.{child.stem}"
        for child in package.iterdir()
        if (child.suffix == ".py" and child.stem != "__init__") or (child / "__init__.py").is_file()
    )


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    modules = children(folder / "agentic_vision", "agentic_vision")
    core = [name for name in modules if name not in ("agentic_vision.tools", "agentic_vision.training")]
    training = children(folder / "agentic_vision" / "training", "agentic_vision.training")

    def listed(names: list[str]) -> str:
        return "".join(f"\n    {name}" for name in names)

    config = CONFIG.format(
        core=listed(core),
        light=listed([*(name for name in core if name != "agentic_vision.policies"), "agentic_vision.tools"]),
        not_rl=listed([*core, "agentic_vision.tools", *(name for name in training if not name.endswith(".verl"))]),
    )
    (folder / ".importlinter").write_text(config)
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_rules_hold(installed: Path) -> None:
    result = lint(installed)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("view.py", "from agentic_vision.tools.resize import resize"),
        ("view.py", "import agentic_vision.training"),
        ("view.py", "import torch"),
        ("tools/resize.py", "from agentic_vision.training import data"),
        ("training/data/__init__.py", "import verl"),
    ],
)
def test_a_breach_of_the_rules_is_seen(installed: Path, tmp_path: Path, module: str, line: str) -> None:
    """Or the test above would say nothing."""
    shutil.copytree(installed / "agentic_vision", tmp_path / "agentic_vision")
    file = tmp_path / "agentic_vision" / module
    file.write_text(f"{line}\n{file.read_text() if file.is_file() else ''}".replace("from __future__", "# from"))
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


@pytest.mark.parametrize("folder", ["tools", "training"])
def test_tools_and_training_name_their_siblings_relatively(folder: str) -> None:
    """So that they mean the same under the name of their folder and under that of the installed package."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0
                else [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else []
            )  # fmt: skip
            for name in names:
                assert name.split(".")[0] not in ("tools", "training"), f"{file}: {name}"
                assert not name.startswith((f"agentic_vision.{folder}",)), f"{file}: write it as a relative import"
