"""What does a hostile image cost, and who sees it? Every file of the corpus through the real path, each in a process.

    python benchmarks/reliability/hostile_images.py [--kind WORD] [--json FILE]

A forked child opens the file as a `Source` and asks an agent about it whose policy is a script: it renders and encodes
all that it is shown as for an endpoint, zooms in, and answers. An answer, or one `ImageError`, in less than 2 seconds
and 400 MB, and no word on stderr: else the file is named and the exit code is 1.

Seconds are of the clock or of the processor, whichever are fewer: others may be at work on the machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hostile_corpus import Hostile, corpus
from PIL import Image
from rich.console import Console
from rich.table import Table

from agentic_vision import Source, View, VisionAgent
from agentic_vision.errors import ImageError
from agentic_vision.policies.image_bytes import ImageBytes, encoded
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, ImagePart
from agentic_vision.protocol import write

SECONDS, MEGABYTES = 2.0, 400.0
GIVEN_UP = 6  # seconds of the processor, after which the child is ended, or ten times as many of the clock
ROOM = 3 * 2**30  # bytes of addresses that a child may take beyond its parent's, for the sake of the machine

_SCRIPT = (
    write(thought="Closer.", calls=[("zoom_crop", {"bbox_2d": [400, 400, 600, 600]})]),
    write(thought="I see it.", answer="417"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a file: `ended` is "answer", "ImageError", or what should not be. `said`: the error's words."""

    kind: str
    name: str
    bytes: int
    ended: str
    said: str
    seconds: float
    megabytes: float
    stderr: str

    @property
    def held(self) -> bool:
        """Whether it kept all the limits."""
        return (
            self.ended in ("answer", "ImageError")
            and self.seconds < SECONDS
            and self.megabytes < MEGABYTES
            and not self.stderr
        )


def look(given: str) -> str:
    """A question about the image; what an application would do with it. Returns the answer."""
    source = Source.open(given)
    images = ImageBytes()

    def reply(conversation: Conversation) -> str:
        for message in conversation.messages:
            for part in message.parts:
                if isinstance(part, ImagePart):
                    images.data_uri(part)
        said = sum(message.role == "assistant" for message in conversation.messages)
        return _SCRIPT[min(said, len(_SCRIPT) - 1)]

    encoded(View.whole(source.size, (48, 48)).render(source))
    result = VisionAgent(ScriptedPolicy(reply)).ask(source, "Which number?")
    return str(result.answer)


def measure(hostile: Hostile, folder: Path) -> Outcome:
    """The outcome of a file, looked at in a child."""
    path = folder / "hostile"
    data = hostile.make()
    path.write_bytes(data)
    size = len(data)
    del data
    receives, sends = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(hostile, path, sends)
    os.close(sends)
    outcome = _waited_for(child, receives)
    return Outcome(hostile.kind, hostile.name, size, *outcome, (folder / "stderr").read_text(errors="replace")[:300])


def _in_child(hostile: Hostile, path: Path, sends: int) -> None:
    stderr = os.open(path.with_name("stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)
    warnings.simplefilter("always")
    logging.basicConfig(level=logging.WARNING)
    given = path.read_text("latin-1") if hostile.uri else str(path)  # the user's own copy is not ours
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + GIVEN_UP, used + GIVEN_UP))
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ROOM, addresses + ROOM))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter(), time.process_time()
    try:
        ended, said = "answer", look(given)
    except ImageError as error:
        ended, said = "ImageError", str(error)
    except BaseException as error:
        ended, said = type(error).__name__, str(error)
    seconds = min(time.perf_counter() - started[0], time.process_time() - started[1])
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    os.write(sends, pickle.dumps((ended, said[:300], seconds, more)))
    os._exit(0)


def _waited_for(child: int, receives: int) -> tuple[str, str, float, float]:
    started = time.perf_counter()
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.perf_counter() - started > 10 * GIVEN_UP:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    status, usage = os.wait4(child, 0)[1:]
    with os.fdopen(receives, "rb") as pipe:
        told = pipe.read()
    if told:
        return pickle.loads(told)  # our own child's
    late = os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU)
    ended = "still running" if late else f"died of signal {os.WTERMSIG(status)}"
    return ended, "", time.perf_counter() - started, usage.ru_maxrss / 1024


def measured(files: Iterable[Hostile]) -> list[Outcome]:
    """The outcomes of the files, in order."""
    # What every process has loaded is no file's doing.
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good.png"
        Image.effect_noise((64, 64), 50).save(good)
        look(str(good))
        return [measure(hostile, Path(folder)) for hostile in files]


def table(outcomes: list[Outcome]) -> Table:
    """Kind by kind: how many were answered and refused, the slowest, the hungriest, the failed."""
    shown = Table("kind", "files", "answered", "refused", "slowest s", "most MB", "limits broken")
    for kind in [*dict.fromkeys(outcome.kind for outcome in outcomes), "all"]:
        of = [outcome for outcome in outcomes if kind in (outcome.kind, "all")]
        counts = [sum(outcome.ended == ended for outcome in of) for ended in ("answer", "ImageError")]
        most = max(outcome.seconds for outcome in of), max(outcome.megabytes for outcome in of)
        broken = sum(not outcome.held for outcome in of)
        shown.add_row(kind, str(len(of)), *map(str, counts), f"{most[0]:.2f}", f"{most[1]:.0f}", str(broken))
    return shown


def main() -> int:
    """Exit code 1 where a file broke a limit."""
    options = argparse.ArgumentParser(description="Hostile images through the real path.")
    options.add_argument("--kind", default="", help="only kinds and names with this in them")
    options.add_argument("--json", type=Path, help="write every outcome there")
    chosen = options.parse_args()
    outcomes = measured(each for each in corpus() if chosen.kind in f"{each.kind} {each.name}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    console = Console(width=120)
    console.print(table(outcomes))
    broken = [outcome for outcome in outcomes if not outcome.held]
    for each in broken:
        console.print(f"{each.kind}: {each.name}: {each.ended}, {each.seconds:.2f} s, {each.megabytes:.0f} MB", end=" ")
        console.print(each.said or each.stderr, highlight=False, markup=False)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
