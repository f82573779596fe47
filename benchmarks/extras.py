"""Does each extra, installed alone, do what it is for? `python benchmarks/extras.py`: a table; exit code 1 for a no.

For the plain install ("core") and for every extra, an environment of its own gets the wheel with that extra alone, at
the versions of constraints.txt; `agentic-vision doctor` has to find it complete, and the commands that it is there for
have to run. An endpoint in here that always gives the same answer plays the model; `local` asks the real checkpoint.

    python benchmarks/extras.py core serve                # some only
    python benchmarks/extras.py --wheel dist/*.whl        # a wheel that is there already
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECEIPT, QUESTION = ROOT / "examples" / "receipt.png", "What is the total?"


class NotSoError(Exception):
    """What did not do what it should, and the last that it said."""


@dataclass(frozen=True)
class Installed:
    """An environment with one extra. `endpoint`: the address of a model that always answers 25.15."""

    folder: Path
    endpoint: str

    @property
    def python(self) -> Path:
        return self.folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"

    def command(self, *words: object) -> str:
        return said(self.python, "-m", "agentic_vision", *words, cwd=self.folder)

    def model(self) -> tuple[str, ...]:
        return "--policy", "qwen3-vl-8b", "--base-url", self.endpoint

    def pocket(self, form: str = "jsonl") -> Path:
        return Path(json.loads(self.command("data", "pocket", form, "--n", 8, "--format", form, "--json"))["rows"])


def core(here: Installed) -> None:
    here.command("--help")
    names = {tool["name"] for tool in json.loads(here.command("tools", "--json"))["tools"]}
    expect(names == {"zoom_crop", "full_res", "resize", "rotate", "enhance"}, f"tools: {names}")
    asked = json.loads(here.command("ask", RECEIPT, QUESTION, *here.model(), "--trace", "trace.html", "--json"))
    expect(asked["answer"] == "25.15", f"answer: {asked}")
    expect((here.folder / "trace.html").is_file(), "no trace")
    here.pocket()


def local(here: Installed) -> None:
    asked = json.loads(here.command("ask", RECEIPT, QUESTION, "--json"))
    expect(asked["answer"] == "25.15", f"answer: {asked}")


def serve(here: Installed) -> None:
    with listening(here, "serve") as address, urllib.request.urlopen(f"{address}v1/models") as models:
        expect(json.load(models)["data"][0]["id"] == "agentic-vision", "another model is served")


def play(here: Installed) -> None:
    with listening(here, "play") as address, urllib.request.urlopen(address) as page:
        expect(b"Watch the agent look" in page.read(), "another page is shown")


@contextmanager
def listening(here: Installed, name: str) -> Iterator[str]:
    """The address of the command, while the block runs."""
    command = [here.python, "-m", "agentic_vision", name, *here.model(), "--port", "0"]
    started = {
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "COLUMNS": "200", "OPENAI_API_KEY": "none"},
    }
    with subprocess.Popen(list(map(str, command)), cwd=here.folder, **started) as server:
        try:
            line = server.stderr.readline()
            address = re.search(r"http://[^/]+/", line)
            expect(address is not None, line)
            answering(address.group() + ("v1/models" if name == "serve" else ""))
            yield address.group()
        finally:
            server.terminate()


def answering(url: str) -> None:
    """Wait until there is somebody."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.1)
    raise NotSoError(f"{url} does not answer")


LOOKING = """
import asyncio, os, sys
from mcp import Client, StdioServerParameters
async def main():
    words = ["-m", "agentic_vision", "mcp", *sys.argv[1:]]
    server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with Client(server) as client:
        assert (await client.call_tool("glance", {"image": "receipt.png"})).content
        asked = await client.call_tool("ask", {"images": ["receipt.png"], "question": "What is the total?"})
        assert "25.15" in str(asked.content), asked
asyncio.run(main())
"""


def mcp(here: Installed) -> None:
    said(here.python, "-c", LOOKING, "--root", RECEIPT.parent, *here.model(), cwd=here.folder)


def batch(here: Installed) -> None:
    here.command("batch", here.pocket("parquet"), "--out", "answers.jsonl", *here.model(), "--json")
    answers = (here.folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    expect(len(answers) == 8, f"{len(answers)} answers to 8 questions")


def evaluated(here: Installed) -> None:
    rows = here.pocket("parquet")
    here.command("eval", rows, "--strategy", "glance,full", "--out", "results", *here.model(), "--json")
    here.command("report", "results", "--data", rows)
    for name in ("accuracy.png", "report.html"):
        expect((here.folder / "results" / name).is_file(), f"no {name}")


def otel(here: Installed) -> None:
    code = "from agentic_vision import telemetry; import opentelemetry.trace"
    said(here.python, "-c", code, cwd=here.folder)
    here.command("ask", RECEIPT, QUESTION, *here.model())


def train(here: Installed) -> None:
    here.command("train", "--list")
    here.command("train", "pocket_smoke", "--dry-run")


def lmms_eval(here: Installed) -> None:
    said(here.python, "-m", "agentic_vision.lmms_eval", "--help", cwd=here.folder)


def docs(here: Installed) -> None:
    said(here.python, "-m", "mkdocs", "build", "--strict", "--site-dir", here.folder / "site", cwd=ROOT)


CHECKS: dict[str, Callable[[Installed], None]] = {
    "core": core,
    "serve": serve,
    "play": play,
    "mcp": mcp,
    "batch": batch,
    "eval": evaluated,
    "otel": otel,
    "docs": docs,
    "local": local,
    "train": train,
    "lmms-eval": lmms_eval,
}
# lmms-eval asks for other releases of these: docs/lmms_eval.md.
UNCONSTRAINED = {"lmms-eval": r"(antlr4-python3-runtime|av|protobuf|python-dateutil|wandb)=="}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--wheel", type=Path, help="the wheel to install; made of this tree by default")
    arguments.add_argument("extras", nargs="*", metavar="EXTRA", help=f"of {', '.join(CHECKS)}; all by default")
    given = arguments.parse_args()
    if unknown := set(given.extras) - set(CHECKS):
        arguments.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(CHECKS)}")
    with tempfile.TemporaryDirectory() as room, answered() as endpoint:
        wheel = given.wheel or made(Path(room))
        print("| extra | packages | MB | seconds to install | what it is for |\n|---|---|---|---|---|", flush=True)
        good = [holds(extra, wheel.resolve(), endpoint) for extra in given.extras or CHECKS]
    sys.exit(0 if all(good) else 1)


def made(room: Path) -> Path:
    """The wheel of a copy: building leaves nothing behind in the working tree."""
    tree = room / "tree"
    for part in ("agentic_vision", "tools", "training"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, tree)
    said(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", room, tree, cwd=room)
    return next(room.glob("*.whl"))


def holds(extra: str, wheel: Path, endpoint: str) -> bool:
    """Whether `extra` does what it is for, in an environment of its own; a line of the table says so."""
    with tempfile.TemporaryDirectory() as folder:
        here = Installed(Path(folder), endpoint)
        packages, megabytes, seconds = 0, 0.0, 0.0
        try:
            seconds = install(here, extra, wheel)
            listed = said(here.python, "-m", "pip", "list", "--format", "json", cwd=here.folder)
            packages = len(json.loads(listed))
            megabytes = sum(file.stat().st_size for file in here.folder.rglob("*") if file.is_file()) / 1e6
            well(here, extra)
            CHECKS[extra](here)
            result = "works"
        except NotSoError as error:
            result = " ".join(str(error).split())[-400:]
        print(f"| `{extra}` | {packages} | {megabytes:.0f} | {seconds:.0f} | {result} |", flush=True)
        return result == "works"


def install(here: Installed, extra: str, wheel: Path) -> float:
    """The seconds that it took."""
    said(sys.executable, "-m", "venv", here.folder / "venv", cwd=here.folder)
    held = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    free = UNCONSTRAINED.get(extra)
    constraints = here.folder / "constraints.txt"
    constraints.write_text("\n".join(line for line in held if not (free and re.match(free, line))), encoding="utf-8")
    what = f"agentic-vision{'' if extra == 'core' else f'[{extra}]'} @ {wheel.as_uri()}"
    began = time.perf_counter()
    said(here.python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", constraints, what, cwd=here.folder)
    return time.perf_counter() - began


def well(here: Installed, extra: str) -> None:
    """What the doctor says: nothing is broken, and the extra is complete."""
    findings = {found["name"]: found for found in json.loads(here.command("doctor", "--json"))["checks"]}
    if extra != "core":
        found = findings[f"extra {extra}"]
        expect(found["state"] == "ok", f"doctor: {found}")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotSoError(otherwise)


def environment() -> dict[str, str]:
    """Nothing of this one's packages; lines that are not broken; a key, which the endpoint does not look at."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "COLUMNS": "200", "OPENAI_API_KEY": "none"}


def said(*command: object, cwd: Path) -> str:
    """What a command writes to its stdout. Raises `NotSoError` where it does not end well."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotSoError(f"{command[-1]} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


@contextmanager
def answered() -> Iterator[str]:
    """The address of an endpoint that gives one answer to whatever it is asked."""
    message = {"role": "assistant", "content": "<think>It says so.</think><answer>25.15</answer>"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    told = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    body = json.dumps(told).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the table is what is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
