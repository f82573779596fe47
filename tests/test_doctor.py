"""Does `agentic-vision doctor` tell what works from what is broken, and name the mend? On installs that are broken."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentic_vision import doctor
from agentic_vision.cli import app
from agentic_vision.doctor import Finding, Health
from agentic_vision.qwen_tokens import QWEN3_VL

WEIGHTS = "agentic_vision/policies/embedded_checkpoint/model.safetensors"


def found(*args: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the findings by name."""
    result = CliRunner().invoke(app, ["doctor", "--json", *args])
    assert "Traceback" not in result.output
    told = json.loads(result.stdout)
    assert told["works"] == (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in told["checks"]}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AGENTIC_VISION_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where torch is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that comes before what is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def package(site: Path, name: str, *lines: str, **files: str) -> None:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, ""]))
    for file, text in files.items():
        (info / file).write_text(text)


def test_a_sound_install_works_and_says_so() -> None:
    pytest.importorskip("torch")
    code, checks = found()
    assert code == 0
    assert {check["state"] for check in checks.values()} <= {"ok", "absent", "warning"}
    assert {"python", "agentic-vision", "packages", "tools", "commands", "embedded checkpoint", "torch"} <= set(checks)
    assert "zoom_crop" in checks["tools"]["detail"]
    assert "transformers counts" not in checks["visual tokens qwen3-vl"]["detail"]
    assert all(check["mend"] for check in checks.values() if check["state"] != "ok")


@pytest.mark.usefixtures("light")
def test_people_get_a_table() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("what is installed works")
    assert "torch " not in result.stdout


@pytest.mark.usefixtures("light")
def test_extras_are_complete_absent_or_unfit(site: Path) -> None:
    package(
        site,
        "agentic-vision",
        *(f"Provides-Extra: {name}" for name in ("fine", "none", "old", "both", "all")),
        "Requires-Dist: pillow>=1",
        'Requires-Dist: httpx>=0.1 ; extra == "fine"',
        'Requires-Dist: no-such-package-of-ours ; extra == "none"',
        'Requires-Dist: pydantic>=999 ; extra == "old"',
        'Requires-Dist: agentic-vision[fine,none] ; extra == "both"',
        'Requires-Dist: not-this-one ; (python_version < "3") and extra == "both"',
    )
    code, checks = found()
    assert code == 2
    assert [checks[f"extra {name}"]["state"] for name in ("fine", "none", "old", "both")] == [
        "ok",
        "absent",
        "broken",
        "absent",
    ]
    assert "extra all" not in checks
    assert checks["extra both"]["detail"] == "missing: no-such-package-of-ours"
    assert checks["extra none"]["mend"] == "pip install 'agentic-vision[none]'"
    assert "has to be >=999" in checks["extra old"]["detail"]
    assert checks["packages"]["state"] == "ok"


@pytest.mark.usefixtures("light")
def test_a_package_that_every_install_needs_is_missing(site: Path) -> None:
    package(site, "agentic-vision", "Requires-Dist: no-such-package-of-ours", "Requires-Dist: pillow>=999")
    code, checks = found()
    assert (code, checks["packages"]["state"]) == (2, "broken")
    assert "no-such-package-of-ours is missing; pillow is " in checks["packages"]["detail"]


@pytest.mark.usefixtures("light")
def test_what_other_packages_bring_and_break(site: Path) -> None:
    (site / "their_exit.py").write_text("raise SystemExit(3)")
    points = "[agentic_vision.tools]\nblur = not_there:blur\nleave = their_exit:tool\n[agentic_vision.commands]\n"
    package(site, "their-tools", **{"entry_points.txt": f"{points}dance = not_there:app\n"})
    twice = "[agentic_vision.tools]\nrotate = agentic_vision.tools.rotate:rotate\n"
    package(site, "their-twin", **{"entry_points.txt": twice})
    code, checks = found()
    assert code == 2
    for name in ("tool blur", "tool leave"):
        assert checks[name]["state"] == "broken"
        assert checks[name]["mend"] == "update or uninstall their-tools"
    assert "No module named 'not_there'" in checks["tool blur"]["detail"]
    assert checks["tool rotate"]["mend"] == "uninstall all but one of them"
    assert checks["command dance"]["mend"] == "update or uninstall their-tools"
    assert "zoom_crop" in checks["tools"]["detail"]  # the others work as ever


@pytest.mark.usefixtures("light")
def test_settings_are_read_and_keys_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MAX_PIXELS": "lots",
        "MAX_FRAMES": "20000",
        "MAX_PIXEL": "7",
        "ALLOW_HOSTS": "images.internal, http://x/",
        "API_KEYS": "sk-one sk-two",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"AGENTIC_VISION_{name}", value)
    code, checks = found()
    checks = {name.removeprefix("AGENTIC_VISION_"): check for name, check in checks.items()}
    assert code == 2
    assert {name: checks[name]["state"] for name in given} == {
        "MAX_PIXELS": "broken",
        "MAX_FRAMES": "ok",
        "MAX_PIXEL": "warning",
        "ALLOW_HOSTS": "broken",
        "API_KEYS": "ok",
    }
    assert "write it in digits" in checks["MAX_PIXELS"]["mend"]
    assert checks["MAX_FRAMES"]["detail"] == "20,000"
    assert "did you mean AGENTIC_VISION_MAX_PIXELS?" in checks["MAX_PIXEL"]["mend"]
    assert checks["API_KEYS"]["detail"].startswith("2 ")
    assert "sk-" not in json.dumps(checks)


@pytest.mark.usefixtures("light")
def test_a_variable_for_keys_that_holds_none_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTIC_VISION_API_KEYS", " ")
    code, checks = found()
    check = checks["AGENTIC_VISION_API_KEYS"]
    assert (code, check["state"]) == (2, "broken")
    assert check["mend"] == "put keys in it, or unset it"


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("whole", [True, False])
def test_the_checkpoint_is_held_against_what_was_installed(site: Path, whole: bool) -> None:
    content = (resources.files("agentic_vision.policies") / "embedded_checkpoint/model.safetensors").read_bytes()
    digest = hashlib.sha256(content if whole else content[:-1]).digest()
    noted = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    points = "[agentic_vision.tools]\nrotate = agentic_vision.tools.rotate:rotate\n"
    record = f"{WEIGHTS},sha256={noted},{len(content)}\n"
    package(site, "agentic-vision", **{"RECORD": record, "entry_points.txt": points})
    code, checks = found()
    check = checks["embedded checkpoint"]
    assert (code, check["state"]) == ((0, "ok") if whole else (2, "broken"))
    assert ("as it was installed" in check["detail"]) == whole
    assert whole or "--force-reinstall" in check["mend"]


def test_a_processor_that_counts_otherwise_is_found() -> None:
    pytest.importorskip("torch")
    checks = import_module("agentic_vision.policies.local_checks")
    weights = import_module("agentic_vision.policies.weights")
    processor = checks._processor(weights, QWEN3_VL)
    assert checks.counted(QWEN3_VL, processor).state is Health.OK
    processor.patch_size = 14
    differs = checks.counted(QWEN3_VL, processor)
    assert differs.state is Health.BROKEN
    assert "the installed transformers" in differs.detail


@pytest.mark.parametrize(
    "trouble", ["raise OSError('libcudart.so: cannot open shared object file')", "raise SystemExit(1)", "x = 1"]
)
def test_a_torch_that_does_not_load_is_a_finding(tmp_path: Path, trouble: str) -> None:
    (tmp_path / "torch.py").write_text(trouble)
    command = [sys.executable, "-m", "agentic_vision", "doctor"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert "pip install --force-reinstall 'agentic-vision[local]'" in " ".join(done.stdout.split())
    assert done.stdout.rstrip().splitlines()[-1].startswith("broken: ")
    assert "torch" in done.stdout.rstrip().splitlines()[-1]


@pytest.mark.usefixtures("light")
def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[Finding]:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(doctor, "extras", fails)
    code, checks = found()
    assert (code, checks["extras"]["state"], checks["tools"]["state"]) == (2, "broken", "ok")
    assert "a defect of ours" in checks["extras"]["detail"]
