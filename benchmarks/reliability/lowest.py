"""Do the lower bounds of pyproject.toml hold? `python benchmarks/reliability/lowest.py` (needs `uv`: pip install uv)

For the plain install and for each extra that needs no torch, an environment of its own gets exactly the lowest
versions that the bounds allow, and runs the tests of that part. A resolver never chooses those by itself, so nobody
else would notice a bound that is too low.

    python benchmarks/reliability/lowest.py serve mcp                             # some parts only
    python benchmarks/reliability/lowest.py --resolution highest --python 3.13    # the newest, on another Python
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = {
    "core": "agent agent_asking agent_endings builtin_tools matching openai_failures openai_replies "
    "openai_requests profiles protocol rows threads toolbox toolbox_failures trace verdict views views_sources",
    "serve": "openai_policy server server_limits server_logs server_raw",
    "mcp": "mcp mcp_http mcp_roots",
    "otel": "telemetry telemetry_errors",
    "batch": "batch_once batch_rows",
    "eval": "evaluation_judged evaluation_report report_runs evaluation_statistics evaluation_troubles loading",
}
# What the tests themselves need, at whatever versions go with the ones under test.
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "numpy", "opentelemetry-sdk", "starlette", "uvicorn")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(TESTS)}; all by default")
    arguments.add_argument("--python", default=sys.executable, help="a version that uv finds, or an interpreter")
    arguments.add_argument("--resolution", default="lowest-direct", choices=["lowest-direct", "highest"])
    given = arguments.parse_args()
    if unknown := set(given.parts) - set(TESTS):
        arguments.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(TESTS)}")
    failed = [part for part in given.parts or TESTS if not holds(part, given.python, given.resolution)]
    if failed:
        sys.exit(f"does not hold: {', '.join(failed)}")


def holds(part: str, python: str, resolution: str) -> bool:
    """Whether the tests of `part` pass in an environment of its own. What needs torch is skipped there."""
    with tempfile.TemporaryDirectory() as room:
        versions, environment = Path(room, "versions.txt"), Path(room, "environment")
        interpreter = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
        uv("venv", environment, "--python", python)
        asked = ["--resolution", resolution, "--python", interpreter, *([] if part == "core" else ["--extra", part])]
        uv("pip", "compile", ROOT / "pyproject.toml", *asked, "--no-annotate", "--no-header", "--output-file", versions)
        uv("pip", "install", "--python", interpreter, "--requirements", versions, *TEST_TOOLS)
        uv("pip", "install", "--python", interpreter, "--no-deps", "--editable", ROOT)
        print(f"== {part}: {' '.join(versions.read_text().split())}", flush=True)
        tests = [f"tests/test_{name}.py" for name in TESTS[part].split()]
        command = [interpreter, "-m", "pytest", "-p", "no:cacheprovider", *tests]
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def uv(*arguments: object) -> None:
    program = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        sys.exit("uv is not installed: pip install uv")
    subprocess.run([program, "--quiet", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
