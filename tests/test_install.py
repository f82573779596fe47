"""Does what we ship arrive? A wheel, an sdist, a plain install and an editable one, each in a place of its own.

The environments borrow the dependencies of the one that runs the tests, so that nothing is downloaded.
"""

import email
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "agentic_vision", "tools", "training")
BESIDE = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "constraints.txt", "mkdocs.yml",
          "benchmarks", "docs", "examples", "tests")  # fmt: skip
"""What an sdist holds beside what is built."""

pytest.importorskip("setuptools", reason="needs the extra: pip install 'agentic-vision[dev]'")


def run(*command: object, cwd: Path | None = None) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def pip(*arguments: object) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


class Environment:
    """A virtual environment that sees, behind its own packages, those of the environment we are in."""

    def __init__(self, folder: Path, *wheels: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        self.packages = Path(run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        if wheels:
            pip("--python", self.python, "install", "--quiet", "--no-deps", "--no-index", *wheels)
        # After the installation, for pip would take the packages behind for its own and replace them. The
        # .pth files in there are not read: what is installed there as editable does not come along.
        (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def says(self, code: str, cwd: Path) -> str:
        return run(self.python, "-c", code, cwd=cwd)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built: building leaves nothing behind in the working tree."""
    return copied(PARTS, tmp_path_factory.mktemp("tree"))


def copied(parts: tuple[str, ...], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for part in parts:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        else:
            shutil.copy(source, target)
    return folder


def wheel(project: Path, out: Path) -> Path:
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, project)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def our_wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def plain(our_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The library and another person's tool package, installed from wheels."""
    folder = tmp_path_factory.mktemp("plain")
    shutil.copytree(ROOT / "tests" / "third_party_tool", folder / "third_party_tool")
    theirs = wheel(folder / "third_party_tool", folder / "wheel")
    return Environment(folder / "venv", our_wheel, theirs)


WHERE = """
import agentic_vision, agentic_vision.tools, agentic_vision.training, agentic_vision.training.data
from agentic_vision import View
print(agentic_vision.__file__, agentic_vision.tools.__file__, agentic_vision.training.__file__, sep="\\n")
"""


def test_the_wheel_holds_every_module_and_data_file(our_wheel: Path, tree: Path) -> None:
    """`packages` in pyproject.toml is a list: whoever adds a folder and forgets to say so hears it here."""
    expected = set()
    for folder, package in (("agentic_vision", "."), ("tools", "tools"), ("training", "training")):
        for file in (tree / folder).rglob("*"):
            weights = {"embedded_checkpoint", "open_decision"} & set(file.parts[:-1])
            if file.suffix in (".py", ".css", ".html", ".js", ".jsonl", ".png", ".toml", ".typed", ".yaml") or weights:
                expected.add((Path("agentic_vision") / package / file.relative_to(tree / folder)).as_posix())
    held = {name for name in zipfile.ZipFile(our_wheel).namelist() if ".dist-info/" not in name}
    assert held == expected


def backend(hook: str, project: Path, out: Path) -> Path:
    """What a hook of the build backend makes of a project, as `python -m build` calls it."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    return out / run(sys.executable, "-c", code, out, cwd=project).splitlines()[-1]


def contents(built: Path) -> dict[str, int]:
    """What a wheel holds: names and checksums, without the list of them, whose order is the build's."""
    return {
        file.filename: file.CRC for file in zipfile.ZipFile(built).infolist() if not file.filename.endswith("/RECORD")
    }


def test_the_wheel_tells_its_licence_and_is_small_enough_to_fetch(our_wheel: Path) -> None:
    assert our_wheel.stat().st_size < 20e6
    with zipfile.ZipFile(our_wheel) as held:
        (place,) = {name.split("/")[0] for name in held.namelist() if ".dist-info/" in name}
        told = email.message_from_bytes(held.read(f"{place}/METADATA"))
        licence = held.read(f"{place}/licenses/LICENSE").decode()
    assert told["License-Expression"] == "Apache-2.0"
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert told["Description-Content-Type"] == "text/markdown"
    assert told["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in told.get_all("Classifier", ())
    assert {"local", "serve", "mcp", "batch", "eval", "otel", "train", "all"} <= set(told.get_all("Provides-Extra", ()))


def test_an_sdist_holds_what_is_needed_to_test_it_and_makes_the_same_wheel(
    tree: Path, our_wheel: Path, tmp_path: Path
) -> None:
    project = copied((*PARTS, *BESIDE), tmp_path / "project")
    sdist = backend("build_sdist", project, tmp_path)
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    made = {"PKG-INFO", "setup.cfg"}  # by setuptools
    there = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    ours = {
        file.relative_to(folder).as_posix()
        for folder in (tree, project)
        for file in folder.rglob("*")
        if file.is_file() and not {"build", "agentic_vision.egg-info"} & {file.relative_to(folder).parts[0]}
    }
    assert {name for name in there if not name.startswith("agentic_vision.egg-info/")} == ours | made
    assert contents(backend("build_wheel", unpacked, tmp_path)) == contents(our_wheel)


def test_a_plain_install_gives_core_tools_and_training(plain: Environment, tmp_path: Path) -> None:
    found = plain.says(WHERE, cwd=tmp_path).splitlines()
    assert all(Path(file).is_relative_to(plain.packages) for file in found)


def test_a_plain_install_works_from_the_root_of_the_repository(plain: Environment) -> None:
    """There the core of the working tree comes first, and finds the installed tools and training."""
    core, tools, training = plain.says(WHERE, cwd=ROOT).splitlines()
    assert Path(core) == ROOT / "agentic_vision" / "__init__.py"
    assert Path(tools).is_relative_to(plain.packages)
    assert Path(training).is_relative_to(plain.packages)


def test_the_door_for_tools_is_open_to_others(plain: Environment, tmp_path: Path) -> None:
    code = """
from agentic_vision import Toolbox
box = Toolbox.of(["zoom_crop", "full_res", "resize", "rotate", "enhance", "upside_down"])
print(*[type(tool).__name__ + ":" + tool.name for tool in box])
"""
    names = ("zoom_crop", "full_res", "resize", "rotate", "enhance", "upside_down")
    assert plain.says(code, cwd=tmp_path) == " ".join(f"VisualTool:{name}" for name in names)


def test_the_console_script_runs(plain: Environment, tmp_path: Path) -> None:
    assert "ask" in run(plain.python.with_name("agentic-vision"), "--help", cwd=tmp_path)
    assert "upside_down" in run(plain.python.with_name("agentic-vision"), "tools", "--json", cwd=tmp_path)
    assert "pocket" in run(plain.python.with_name("agentic-vision"), "data", "--help", cwd=tmp_path)


def test_an_editable_install_points_at_the_tree(tree: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    pip("--python", environment.python, "install", "--quiet", "--ignore-installed", "--no-deps",
        "--no-build-isolation", "-e", tree)  # fmt: skip
    assert [Path(file) for file in environment.says(WHERE, cwd=tmp_path).splitlines()] == [
        tree / "agentic_vision" / "__init__.py",
        tree / "tools" / "__init__.py",
        tree / "training" / "__init__.py",
    ]


def test_importing_is_quick_and_loads_nothing_heavy() -> None:
    """With every public name fetched, which loads all of the core: the quickest of three fresh processes."""
    code = """
import time
import langgraph.graph, PIL.Image, pydantic, rich, typer
start = time.process_time()
import agentic_vision
for name in agentic_vision.__all__:
    getattr(agentic_vision, name)
print(time.process_time() - start)
import sys
print(*sorted({"torch", "transformers", "ray", "verl"} & set(sys.modules)))
"""
    outputs = [run(sys.executable, "-c", code).splitlines() for _ in range(3)]
    assert all(heavy == [] or heavy == [""] for _, *heavy in outputs)
    assert min(float(seconds) for seconds, *_ in outputs) < 0.3


def test_an_unknown_name_says_what_there_is() -> None:
    import agentic_vision

    with pytest.raises(AttributeError, match="VisionAgent"):
        agentic_vision.VisonAgent  # noqa: B018
    assert "VisionAgent" in dir(agentic_vision)
