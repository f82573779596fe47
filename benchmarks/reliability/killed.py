"""Is the end the same, whenever a process is killed? `python benchmarks/reliability/killed.py [--kills N] [--train N]`

A batch, an evaluation, the difficulty filter and threads in SQLite (and, asked for, a training run) run once unbroken.
Then each is begun afresh, killed (SIGKILL) at a moment drawn from the time that the unbroken run took, perhaps killed
once more, and at last run to its end, until N kills are done: the same rows, answers and figures must be there, each
once, and no file torn or left over. Ends with 1 where they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import NONCE, endpoint, told
from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.cli import app
from agentic_vision.errors import ConfigError
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Reply
from agentic_vision.protocol import write
from agentic_vision.rows import read_rows
from agentic_vision.whole_file import write_whole

PASSING = ("id", "seconds", "seconds_median", "seconds_p95")
"""What differs from run to run by its nature."""


@dataclass
class Work:
    """`run` works in a folder until it is done; `result` is what is there then, without what passes."""

    name: str
    run: Callable[[Path], None]
    result: Callable[[Path], Any]


@dataclass
class Found:
    name: str
    kills: int
    seconds: float
    late: int
    breaches: list[str] = field(default_factory=list)


def lasting(value: Any) -> Any:
    """`value` without what passes."""
    if isinstance(value, dict):
        return {key: lasting(one) for key, one in value.items() if key not in PASSING}
    return [lasting(one) for one in value] if isinstance(value, list) else value


def lines(path: Path, *keys: str) -> list[Any]:
    """The lines of a file, all of them whole, in the order of `keys`."""
    read = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    assert path.read_bytes().endswith(b"\n"), f"{path.name} ends in a torn line"
    return [lasting(one) | {key: one[key] for key in keys} for one in sorted(read, key=lambda o: [o[k] for k in keys])]


def command(*arguments: object) -> None:
    """The command line, in this process. Raises `SystemExit` where it fails."""
    try:
        app([str(one) for one in arguments])
    except SystemExit as ended:
        if ended.code:
            raise


def rows(folder: Path, count: int) -> Path:
    """`count` questions with pictures of their own; half of the references are right."""
    folder.mkdir()
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(count):
            Image.new("RGB", (96, 96), (number, 0, 0)).save(folder / f"{number}.png")
            nonce = f"{number:06x}"
            row = {
                "id": f"row-{number}",
                "images": [f"{number}.png"],
                "question": f"Which word belongs to nonce {nonce}?",
                "answer": told(nonce) if number % 2 else "another",
            }
            file.write(json.dumps(row) + "\n")
    return folder / "rows.jsonl"


def batch(given: Path, url: str) -> Work:
    def run(folder: Path) -> None:
        options = ("--policy", "m", "--base-url", url, "--concurrency", 8, "--json")
        command("batch", given, "--out", folder / "out.jsonl", *options)

    return Work("batch", run, lambda folder: lines(folder / "out.jsonl", "id"))


def evaluation(given: Path, url: str) -> Work:
    def run(folder: Path) -> None:
        options = ("--strategy", "glance,full", "--policy", "m", "--base-url", url, "--concurrency", 4, "--json")
        command("eval", given, "--out", folder / "out", *options)

    def result(folder: Path) -> Any:
        summary = json.loads((folder / "out" / "summary.json").read_text())
        return [lines(folder / "out" / "trajectories.jsonl", "row", "strategy"), lasting(summary)]

    return Work("eval", run, result)


class Sampled(ScriptedPolicy):
    """A stand-in for a model that is sampled: what it says hangs on the seed, the question and how much it sees."""

    def __init__(self) -> None:
        super().__init__([""], family="pocket")

    async def reply(self, conversation: Any, *, seed: int | None = None) -> Any:
        await asyncio.sleep(0.002)
        seen = max(image.view.size[0] for image in conversation.images)
        asked = conversation.messages[-1].text
        right = random.Random(f"{seed}/{asked}").random() < seen / 150
        nonce = NONCE.search(asked)
        return Reply(text=write(answer=told(nonce[1]) if right and nonce else "something"))


def difficulty(given: Path) -> Work:
    """What `data difficulty` does, with a policy that is quick enough to be killed often."""
    from agentic_vision.training.data.difficulty import chosen, measure

    def run(folder: Path) -> None:
        asked = read_rows(given)
        kept = chosen(asked, measure(asked, Sampled(), folder, n=4), calls=None)
        text = "".join(json.dumps([row.id, difficulty.value]) + "\n" for row, difficulty in kept)
        write_whole(folder / "rows.jsonl", text.encode())

    return Work(
        "data difficulty",
        run,
        lambda folder: [lines(folder / "answers.jsonl", "id"), (folder / "rows.jsonl").read_text()],
    )


def threads(count: int) -> Work:
    """Two questions in each of `count` threads; the first looks closer."""
    questions = ("Which number?", "And the other?")

    def script(conversation: Any) -> str:
        asked = sum(message.role == "user" for message in conversation.messages)
        if len(conversation.images) == 1:
            return write(calls=[("zoom_crop", {"bbox_2d": [0, 0, 500, 500]})])
        return write(answer=f"answer {asked}")

    def agent(saver: Any, folder: Path) -> VisionAgent:
        return VisionAgent(ScriptedPolicy(script), checkpointer=saver, image_folder=folder / "images")

    def each(folder: Path) -> list[Any]:
        from langgraph.checkpoint.sqlite import SqliteSaver

        ended = []
        with SqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as saver:
            asking = agent(saver, folder)
            for number in range(count):
                picture = Image.new("RGB", (1200, 900), (number, 0, 0))
                try:
                    result = asking.resume(f"thread-{number}", picture)
                except ConfigError as error:
                    if "knows no thread" not in str(error):
                        raise
                    result = asking.ask(picture, questions[0], thread_id=f"thread-{number}")
                if len([step for step in result.trajectory.steps if type(step).__name__ == "Asked"]) == 0:
                    result = asking.ask(None, questions[1], thread_id=f"thread-{number}")
                ended.append(lasting(result.trajectory.model_dump(mode="json")))
        return ended

    return Work("threads", lambda folder: each(folder) and None, each)


def begun(work: Work, folder: Path) -> int:
    """The work, begun in a process of its own that has all modules; its id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        with (folder.parent / "said").open("ab", buffering=0) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        work.run(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(work: Work, folder: Path, kills: int, seed: int) -> Found:
    """Kill `work` so often, and compare its ends with an unbroken one."""
    dice = random.Random(f"{work.name}/{seed}")
    folder.mkdir()
    (whole := folder / "whole").mkdir()
    started = time.monotonic()
    if ended(begun(work, whole)):
        return Found(work.name, 0, 0.0, 0, [f"it does not run: {(folder / 'said').read_text()[-600:]}"])
    seconds = time.monotonic() - started
    right, usual = work.result(whole), files(whole)
    found = Found(work.name, 0, seconds, 0)
    number = 0
    while found.kills < kills:
        (here := folder / f"{(number := number + 1):03}").mkdir()
        again = True
        while again and found.kills < kills:
            child = begun(work, here)
            time.sleep(dice.uniform(0, seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            found.kills += 1
            found.late += ended(child) == 0
            again = dice.random() < 0.3
        if ended(begun(work, here)):
            found.breaches.append(f"run {number} does not go on: {(folder / 'said').read_text()[-600:]}")
            continue
        try:
            if work.result(here) != right:
                found.breaches.append(f"run {number} ends otherwise than an unbroken one")
        except Exception as error:
            found.breaches.append(f"run {number} has no whole result: {type(error).__name__}: {error}")
        if left := {path for path in files(here) - usual if ".part" in path}:
            found.breaches.append(f"run {number} leaves {sorted(left)}")
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def train(folder: Path, kills: int, seed: int) -> Found:
    """A run of `pocket_smoke`, killed so often on its way, against an unbroken one."""
    import psutil

    dice = random.Random(f"train/{seed}")

    def start(out: Path) -> subprocess.Popen[bytes]:
        arguments = ("train", "pocket_smoke", "steps=4", "save_every=1", "--out", str(out), "--json")
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-m", "agentic_vision", *arguments], **silent)  # type: ignore[call-overload,no-any-return]

    def asked(out: Path) -> list[Any]:
        return [(line["step"], line["prompt_tokens"]) for line in lines(out / "metrics.jsonl", "step")]

    started = time.monotonic()
    if start(folder / "whole").wait():
        return Found("train pocket_smoke", 0, 0.0, 0, ["it does not run"])
    found = Found("train pocket_smoke", 0, time.monotonic() - started, 0)
    number = 0
    while found.kills < kills:
        here = folder / f"killed-{(number := number + 1):02}"
        while found.kills < kills:
            process = start(here)
            try:
                process.wait(dice.uniform(0.05, 0.95) * found.seconds)
                break  # It was done first: no kill, and the next run's turn.
            except subprocess.TimeoutExpired:
                family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            found.kills += 1
            print(f"kill {found.kills} of {kills}, run {number}", file=sys.stderr)
            if psutil.wait_procs(family, timeout=180)[1]:
                found.breaches.append("processes of a killed run live on")
        if start(here).wait():
            found.breaches.append(f"run {number} does not go on")
        elif asked(here) != asked(folder / "whole"):
            found.breaches.append(f"run {number} has other steps than an unbroken one")
    return found


def all_killed(folder: Path, kills: int, seed: int, count: int) -> list[Found]:
    """Everything but training. `count`: the rows of each, and half as many threads."""

    os.environ["OPENAI_API_KEY"] = "k"
    import_all()
    given = rows(folder / "given", count)
    with endpoint(0.0, seed) as url:
        works = [batch(given, url), evaluation(given, url), difficulty(given), threads(max(2, count // 4))]
        return [killed(work, folder / work.name.replace(" ", "-"), kills, seed) for work in works]


def import_all() -> None:
    """What the works need, before they are forked: moments of importing are not worth a kill."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import openai.resources.chat.completions  # noqa: F401

    import agentic_vision.batch.run
    import agentic_vision.evaluation.plots
    import agentic_vision.training.data.difficulty  # noqa: F401


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each")
    parser.add_argument("--train", type=int, default=0, help="kills of a training run, which takes minutes")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = all_killed(Path(folder), given.kills, given.seed, given.rows)
        if given.train:
            found.append(train(Path(folder), given.train, given.seed))
    print("| work | kills | of them when it was done | s of an unbroken run | ends that differ |")
    print("| --- | --- | --- | --- | --- |")
    for one in found:
        print(f"| {one.name} | {one.kills} | {one.late} | {one.seconds:.1f} | {len(one.breaches)} |")
    for one in found:
        for breach in one.breaches:
            print(f"BREACH in {one.name}: {breach}")
    return int(any(one.breaches for one in found))


if __name__ == "__main__":
    sys.exit(main())
