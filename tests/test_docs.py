"""What README and the documentation show is so: Python runs, commands exist, files and links are there."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
from doc_pages import DOCS, PAGES, ROOT, Block, blocks, commands, files, name
from endpoints import Scripted, chat, response
from PIL import Image
from typer.main import get_command

from agentic_vision.cli import app

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
RUN = (("ask", "examples/receipt.png"), ("tools",), ("train", "--list"), ("judge", "--scoring", "numeric"))
"""Commands that are cheap enough to be run, by how they begin."""
INSTEAD = {
    "Qwen/Qwen3-VL-2B-Instruct": "qwen3_vl",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen2_5_vl",
}
"""Checkpoints of the hub -> the tiny checkpoints that stand for them."""


def answer(request: dict[str, Any]) -> Any:
    """What the pages' endpoint says: an answer by either API and in either protocol, and a judge's verdict."""
    if "input" in request:
        return response("25.15")
    if "You check answers" in str(request["messages"][0]["content"]):
        return chat("1")
    native = request["model"].startswith("gpt")
    return chat("25.15" if native else "<think>I can read it.</think><answer>25.15</answer>")


@pytest.fixture(scope="module")
def endpoint() -> Any:
    with Scripted([answer]).serving() as url:
        yield url


@pytest.fixture(scope="module")
def checkpoints(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What stands for the hub's checkpoints, by their names there; they know nothing, and say little."""
    made = {hub: tmp_path_factory.mktemp("hub") / tiny for hub, tiny in INSTEAD.items()}
    for hub, folder in made.items():
        shutil.copytree(folders[INSTEAD[hub]], folder)
        (folder / "agentic_vision.json").write_text('{"max_new_tokens": 16}')
    return made


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: Any) -> Path:
    """Where the pages say that one is: in a copy of the repository. The checkpoint is loaded once."""
    from agentic_vision.policies.embedded import EmbeddedPolicy

    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EmbeddedPolicy, "load", lambda: embedded.policy)
    return tmp_path


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
@pytest.mark.usefixtures("at_home")
def test_python_runs_and_prints_what_the_page_says(
    page: Path,
    endpoint: str,
    checkpoints: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    scope: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        code = compile(at_hand(block, endpoint, checkpoints), f"{name(page)}:{block.line}", "exec", dont_inherit=True)
        if block.compiled_only is not None:
            check_names(block)
            continue
        capsys.readouterr()
        exec(code, scope)
        if block.printed is not None:
            assert capsys.readouterr().out == block.printed


def at_hand(block: Block, endpoint: str, checkpoints: dict[str, Path]) -> str:
    """The code, with the endpoint and the checkpoints of the tests."""
    code = block.code.replace("http://localhost:8000/v1", endpoint)
    for hub, folder in checkpoints.items():
        code = code.replace(hub, str(folder))
    return code


def check_names(block: Block) -> None:
    """What is imported is there, and takes the keywords that it is given."""
    tree = ast.parse(block.code)
    scope: dict[str, Any] = {}
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), name(block.page), "exec"), scope)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in scope:
            keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
            inspect.signature(scope[call.func.id]).bind(*call.args, **keywords)


def test_what_is_only_compiled_is_known() -> None:
    listed = {(name(page), block.compiled_only) for page in PAGES for block in blocks(page, "python")}
    assert {found for found in listed if found[1]} == {
        ("docs/security.md", "needs a host called images.internal"),
        ("docs/tutorials/train_on_a_laptop.md", "needs the run above"),
    }


def test_files_that_stand_in_a_page_are_tested_examples() -> None:
    tested = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    shown = {file for page in PAGES for file in files(page)}
    assert len(shown) > 5
    for file in shown:
        assert file.is_file()
        assert file.suffix != ".py" or file.name in tested, f"no test runs {file}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_can_be_given_so(page: Path) -> None:
    for block in blocks(page, "sh"):
        for words in commands(block.code):
            command, rest = command_of(words)
            command.make_context("agentic-vision", rest)
    for said in re.findall(r"`(agentic-vision [^`\n]+)`", page.read_text(encoding="utf-8")):
        for words in commands(said):  # not always whole, but nothing in it is made up
            command, rest = command_of([word for word in words if word not in ("…", "...")])
            options = {option for parameter in getattr(command, "params", ()) for option in parameter.opts}
            assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that is named, and the words behind it."""
    command: Any = get_command(app)
    while words and hasattr(command, "get_command"):
        inner = command.get_command(None, words[0])
        assert inner is not None, words
        command, words = inner, words[1:]
    return command, words


CHEAP = sorted(
    {
        (tuple(words), block.printed)
        for page in PAGES
        for block in blocks(page, "sh")
        for words in commands(block.code)
        if any(tuple(words[: len(begin)]) == begin for begin in RUN)
    },
    key=str,
)


@pytest.mark.parametrize(("words", "printed"), CHEAP)
@pytest.mark.usefixtures("at_home")
def test_cheap_commands_print_what_the_page_says(
    words: tuple[str, ...],
    printed: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said
    if printed is not None:
        assert re.sub(r"\d+\.\d s", "_ s", said) == re.sub(r"\d+\.\d s", "_ s", printed)


def test_settings_in_pages_can_be_read() -> None:
    read = [json.loads(block.code) for page in PAGES for block in blocks(page, "json")]
    read += [tomllib.loads(block.code) for page in PAGES for block in blocks(page, "toml")]
    (server,) = (found["mcpServers"]["eyes"] for found in read if "mcpServers" in found)
    command, rest = command_of(server["args"])
    command.make_context(server["command"], rest)


# Of our own rooms: an environment or a build in the working tree has pages of its own.
CARDS = [page for room in ("agentic_vision", "tools", "training") for page in sorted((ROOT / room).rglob("README.md"))]
OTHERS = [ROOT / page for page in ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS, *CARDS], ids=name)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    made = {"security_policy.md", "model_card.md", "open_decision.md", "command_line.md"}  # when the site is built
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        assert (page.parent / target).exists() or Path(target).name in made, target


def test_the_pictures_are_drawn_by_their_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["make_pictures.py", str(tmp_path)])
    runpy.run_path(str(DOCS / "site" / "make_pictures.py"), run_name="__main__")
    for picture in ("one_box.png", "grids.png"):
        with Image.open(tmp_path / picture) as drawn, Image.open(DOCS / "explanation" / picture) as shown:
            assert (drawn.size, drawn.info["Description"]) == (shown.size, shown.info["Description"])


def test_the_table_of_families_is_the_arithmetic() -> None:
    from agentic_vision import family

    rows = re.findall(
        r"^\| `([\w.-]+)` \| [^|]+ \| (\d+) x (\d+) \| ([\d,]+) \| (\d+) x (\d+) \| ([\d,]+) \| ([\w ]+) \|$",
        (DOCS / "explanation" / "coordinates.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) == 8
    for of, *said, units in rows:
        full, look = family(of).shown_size((1200, 900)), family(of).glance((1200, 900))
        numbers = [int(number.replace(",", "")) for number in said]
        assert numbers == [*full, look.full_tokens, *look.size, look.tokens]
        assert units == family(of).coordinates.replace("_", " ")


def test_the_site_is_built_and_searched_without_a_network(tmp_path: Path) -> None:
    """Strict: a link that leads nowhere, a page that is in no menu, what loads from elsewhere ends it."""
    pytest.importorskip("mkdocs", reason="needs the extra: pip install 'agentic-vision[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "reference/command_line.html", "model_card.html", "search/search_index.js"):
        assert (tmp_path / "site" / page).is_file()
    for command in ("ask", "serve", "data-difficulty"):
        assert f'id="agentic-vision-{command}"' in (tmp_path / "site/reference/command_line.html").read_text("utf-8")


class TestReference:
    """The reference is whole, and what it shows has words."""

    @pytest.fixture(autouse=True)
    def _all_of_it(self) -> None:
        pytest.importorskip("verl", reason="needs the extra: pip install 'agentic-vision[train]'")
        pytest.importorskip("fastapi", reason="needs the extra: pip install 'agentic-vision[serve]'")

    @staticmethod
    def documented() -> dict[str, Any]:
        """Every object of the reference, by its path."""
        found: dict[str, Any] = {}
        for page in sorted((DOCS / "reference").glob("*.md")):
            text = page.read_text(encoding="utf-8")
            for path, options in re.findall(r"^::: ([\w.]+)\n((?:    .*\n)*)", text, re.MULTILINE):
                path = re.sub(r"^(tools|training)\.", r"agentic_vision.\1.", path)
                members = re.search(r"members: \[([^]]+)\]", options)
                if members:
                    found |= {f"{path}.{member}": None for member in members[1].split(", ")}
                elif inspect.ismodule(module := _resolved(path)):
                    own = {key: value for key, value in vars(module).items() if key[0] != "_"}
                    found |= {
                        f"{path}.{key}": None
                        for key, value in own.items()
                        if getattr(value, "__module__", None) == module.__name__
                    }
                else:
                    found[path] = None
        return {path: _resolved(path) for path in found}

    def test_all_that_is_exported_is_there(self) -> None:
        documented = {id(thing) for thing in self.documented().values()}
        for module in ("agentic_vision", "agentic_vision.training", "agentic_vision.evaluation"):
            home = importlib.import_module(module)
            missing = [key for key in home.__all__ if id(getattr(home, key)) not in documented]
            assert [key for key in missing if key.upper() != key] == [], module

    def test_everything_has_a_docstring(self) -> None:
        without = []
        for path, thing in self.documented().items():
            if not inspect.getdoc(thing):
                without.append(path)
            for key, value in vars(thing).items() if inspect.isclass(thing) else ():
                function = inspect.isroutine(inspect.unwrap(getattr(value, "__func__", value)))
                if key[0] != "_" and (function or isinstance(value, property)) and not _doc(thing, key):
                    without.append(f"{path}.{key}")
        assert without == []

    def test_errors_that_are_raised_are_named(self) -> None:
        """Where a documented function raises one of our errors itself, its words, or its class's, say so."""
        from agentic_vision import errors

        ours = {key for key, value in vars(errors).items() if inspect.isclass(value)}
        silent = []
        for path, thing in self.documented().items():
            functions = vars(thing).values() if inspect.isclass(thing) else [thing]
            for function in functions:
                function = getattr(function, "__func__", function)
                if not inspect.isfunction(function) or function.__code__.co_filename.startswith("<"):
                    continue  # no function, or one that dataclasses or pydantic made
                words = f"{function.__doc__} {thing.__doc__}"
                if function.__name__[0] == "_" and function.__name__ not in ("__init__", "__post_init__"):
                    continue
                tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
                for node in ast.walk(tree):
                    raised = node.exc if isinstance(node, ast.Raise) else None
                    named = getattr(getattr(raised, "func", None), "id", None)
                    if named in ours and named not in words:
                        silent.append(f"{path}.{function.__name__} raises {named}")
        assert silent == []


def _resolved(path: str) -> Any:
    """The module or object of this path."""
    parts = path.split(".")
    for at in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:at]))
        except ModuleNotFoundError:
            continue
        for part in parts[at:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(path)


def _doc(cls: type, key: str) -> str | None:
    """The words on a member, those of a base's where it has none of its own."""
    return next((doc for base in cls.__mro__ if key in vars(base) and (doc := vars(base)[key].__doc__)), None)
