"""Does any text that a model may write break the parser or the loop? `python benchmarks/reliability/fuzz_turns.py`

A million turns of a grammar of near misses: tags that are broken, nested, doubled or never closed, thoughts without
end, calls that are almost JSON, deep nesting, huge numbers, halves of surrogate pairs, control characters, special
tokens, pieces repeated to hundreds of thousands of characters. Each is read by `protocol.parse`, and as a reply with
native calls, there and back; every 50th (`--agent-share`) is what a scripted policy says to a whole agent. Looked for:
an exception, a turn that is not exactly one of calls, answer and problem, a reading that takes longer than 1 ms and 20
ns a byte, a question that does not end, that takes more turns than its limit, or that cannot be stored as JSON.

Seeded: turn n of a seed is the same everywhere. Ends with 1, and the offending text, at a breach. A reading that is too
slow is timed again, for the machine may have been busy with something else: the fastest of `TRIES` counts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image
from rich.console import Console
from rich.progress import track

from agentic_vision import VisionAgent
from agentic_vision.agent import Result
from agentic_vision.messages import Trajectory, Turn
from agentic_vision.policies.native_calls import NativeReply, from_text
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, PromptStyle
from agentic_vision.protocol import TAGS, parse

FIXED, PER_BYTE = 1e-3, 20e-9  # seconds
TRIES = 12
MAX_TURNS = 4

SPECIAL = ("<|im_end|>", "<|im_start|>user\n", "<|image_pad|>", "<|endoftext|>", "<|vision_start|>", "</s>", "[/INST]")
BROKEN = ("<", ">", "</", "<think", "think>", "</think", "<answer", "</answer", "<tool_call", "</tool_call", "<Think>")
BROKEN += (
    "< answer>",
    "<answer >",
    "<<answer>>",
    "</ans</answer>wer>",
    "<thi<think>nk>",
    "<tool_call/>",
    "&lt;answer>",
)
ODD = ("\ud800", "\udfff", "\ud83d", "\ude00", "\x00", "\x1b[2J", "\u202e", "\u2028", "\x85", "\ufeff", "\ue0000\ue001")
PLAIN = ("417", " ", "\n", "the total", "It is too small.", "\U0001f600", "\u00e9", "'", '"', "\\", "`", "$x$", "12,40")
NUMBERS = ("0", "-1", "1e308", "1e999", "-0.0", "9" * 19, "9" * 25, "NaN", "Infinity", "-Infinity", "01", "1.", ".5")
NUMBERS += (
    "9" * 5000,
    "0." + "9" * 5000,
    "1e" + "9" * 400,
    "0x10",
    "1_000",
    "9223372036854775807",
    "9223372036854775808",
)
TEXTS = ('""', '"a"', '"\\ud800"', '"\\u0000"', '"</tool_call>"', '"<answer>5</answer>"', "'a'", '"a', '"\\x"', '"\n"')
NAMES = (
    "zoom_crop",
    "full_res",
    "resize",
    "rotate",
    "",
    "a" * 300,
    "\u202e",
    "<b>x</b>",
    "../../etc/passwd",
    "__class__",
)
KEYS = ('"bbox_2d"', '"image"', '"name"', '"arguments"', '"degrees"', "bbox_2d", '"\\ud800"', '""', "1", "null")
LITTLE = ("[]", "{}", "0,", '"",', "[0],", '{"a":', "[", "\\n", "\\u0041", "null,", ":", "1.5,")


def turn(rng: random.Random) -> str:
    """One turn of the grammar."""
    kind = rng.random()
    if kind < 0.005:
        return _long(rng)
    parts = [_part(rng) for _ in range(rng.choice((1, 1, 2, 3, 4, 6, 10)))]
    text = "".join(parts)
    return _damaged(rng, text) if kind < 0.4 else text


def _part(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:
        return f"<tool_call>{_call(rng)}</tool_call>"
    if kind < 0.5:
        return f"<answer>{_said(rng)}</answer>"
    if kind < 0.65:
        return f"<think>{_said(rng)}</think>"
    if kind < 0.8:
        return rng.choice(TAGS)
    return _said(rng)


def _said(rng: random.Random) -> str:
    return "".join(rng.choice(rng.choice((PLAIN, PLAIN, BROKEN, ODD, SPECIAL, TAGS))) for _ in range(rng.randrange(5)))


def _call(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:  # nearly right, or right
        box = ", ".join(rng.choice((*NUMBERS[:6], "100", "900", "500")) for _ in range(rng.choice((4, 4, 4, 3, 0))))
        return f'{{"name": {json.dumps(rng.choice(NAMES))}, "arguments": {{"bbox_2d": [{box}]}}}}'
    if kind < 0.5:
        return f'{{"name": {json.dumps(rng.choice(NAMES))}, "arguments": {_value(rng, 5)}}}'
    if kind < 0.6:
        depth = rng.choice((3, 17, 200, 2000))
        opened, closed = rng.choice((("[", "]"), ('{"a":', "}"), ("[[],", "]")))
        return f'{{"name": "a", "arguments": {{"x": {opened * depth}0{closed * rng.choice((depth, depth - 1))}}}}}'
    return _value(rng, 4)


def _value(rng: random.Random, levels: int) -> str:
    kind = rng.random()
    if levels == 0 or kind < 0.3:
        return rng.choice(rng.choice((NUMBERS, TEXTS, ("true", "null", "None", "undefined", "// x"))))
    inner = [_value(rng, levels - 1) for _ in range(rng.randrange(4))]
    comma = rng.choice((", ", ", ", ",", ",,", " "))
    if kind < 0.55:
        return f"[{comma.join(inner)}]"
    return f"{{{comma.join(f'{rng.choice(KEYS)}: {value}' for value in inner)}}}"


def _long(rng: random.Random) -> str:
    """A piece again and again, up to a length at which time that grows with its square would show."""
    piece = "".join(
        rng.choice(rng.choice((TAGS, BROKEN, ODD, SPECIAL, LITTLE, PLAIN))) for _ in range(rng.randint(1, 3))
    )
    size = rng.choice((10_000, 50_000, 199_000, 199_000, 1_000_000))
    body = piece * (size // len(piece))
    before = rng.choice(("", "<think>", "<answer>", f"<tool_call>{_call(rng)}</tool_call>", "<tool_call>"))
    opened = rng.choice(("", "<tool_call>[", '<tool_call>{"name": "a", "arguments": {"x": "', "<think>"))
    closed = rng.choice(("", "]</tool_call>", '"}}</tool_call>', "</think>", "</answer>"))
    return before + opened + body + closed + rng.choice(("", "<answer>5</answer>"))


def _damaged(rng: random.Random, text: str) -> str:
    """Some characters lost, doubled, moved or replaced."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((1, 1, 2, 8, 40)))
        middle = rng.choice(
            ("", text[at:to] * 2, text[at:to][::-1], rng.choice(rng.choice((TAGS, BROKEN, ODD, LITTLE))))
        )
        text = text[:at] + middle + text[to:]
    return text


@dataclass
class Timed:
    """How long readings took against their bound, or `slack` times that on a machine that does much else meanwhile."""

    slack: float = 1.0
    n: int = 0
    seconds: float = 0.0
    size: int = 0
    worst: float = 0.0
    worst_ms: float = 0.0
    worst_size: int = 0

    def read(self, reader: Callable[[str], object], text: str) -> object:
        """What `reader` makes of `text`. Raises `AssertionError` where it always takes too long."""
        size = len(text.encode("utf-8", "surrogatepass"))
        allowed = self.slack * (FIXED + PER_BYTE * size)
        took = float("inf")
        for _ in range(TRIES):
            started = time.perf_counter()
            made = reader(text)
            took = min(took, time.perf_counter() - started)
            if took < allowed / 2:
                break
        assert took <= allowed, f"{reader.__name__} took {1000 * took:.2f} ms for {size} bytes"
        self.n, self.seconds, self.size = self.n + 1, self.seconds + took, self.size + size
        if took / allowed > self.worst:
            self.worst, self.worst_ms, self.worst_size = took / allowed, 1000 * took, size
        return made

    def figures(self) -> dict[str, float]:
        """Mean and worst. `worst_of_bound`: the share of its bound that the worst took."""
        return {
            "n": self.n,
            "mean_us": round(1e6 * self.seconds / max(self.n, 1), 1),
            "mean_bytes": round(self.size / max(self.n, 1)),
            "worst_of_bound": round(self.worst, 2),
            "worst_ms": round(self.worst_ms, 2),
            "worst_bytes": self.worst_size,
        }


@dataclass
class Fuzz:
    """What has been tried and found."""

    parsed: Timed = field(default_factory=Timed)
    native: Timed = field(default_factory=Timed)
    outcomes: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)

    def read(self, text: str) -> None:
        """Reads one turn both ways. Raises whatever is wrong with that."""
        read = self.parsed.read(parse, text)
        assert isinstance(read, Turn)
        assert bool(read.calls) + (read.answer is not None) + (read.problem is not None) == 1, "not one outcome"
        self.outcomes[read.problem.kind if read.problem else "answer" if read.answer is not None else "calls"] += 1
        self.native.read(from_text, text)
        # What a model said natively is one answer, or the text that it was: never a call that it did not make.
        said = self.native.read(_natively_said, text)
        assert isinstance(said, str)
        if "<tool_call>" not in text and "<answer>" not in text:
            again = parse(said)
            assert not again.calls, "what was said became a call"

    def ask(self, asker: Asker, rng: random.Random, said: list[str]) -> None:
        """Asks an agent, whose policy says what the grammar says. Raises whatever is wrong with what comes of it."""
        result = asker.ask(rng, said)
        found = result.trajectory
        assert len(found.turns) <= MAX_TURNS, f"{len(found.turns)} turns"
        assert len(found.steps) < 4 + MAX_TURNS * 9, f"{len(found.steps)} steps"
        assert Trajectory.model_validate_json(found.model_dump_json()) == found, "it is not stored as it was"
        self.endings[found.stop_reason] += 1


def _crop(rng: random.Random) -> str:
    box = [rng.choice((0, 100, 400, 500, 900, 1000, 1e308, -5)) for _ in range(4)]
    return f'<tool_call>{{"name": "zoom_crop", "arguments": {{"bbox_2d": {json.dumps(box)}}}}}</tool_call>'


def _natively_said(text: str) -> str:
    return NativeReply(text, text[:1000]).text()


class Asker:
    """Asks agents whose policy speaks the grammar; one agent a style, for to make one takes longer than a question."""

    def __init__(self) -> None:
        self._rng, self._said = random.Random(0), list[str]()
        self._image = Image.new("RGB", (320, 240), "white")
        self._agents = [
            VisionAgent(ScriptedPolicy(self._speak, style=style), max_turns=MAX_TURNS, max_visual_tokens=2000)
            for style in (PromptStyle.TEXT, PromptStyle.COMPACT, PromptStyle.NATIVE)
        ]

    def ask(self, rng: random.Random, said: list[str]) -> Result:
        """What comes of one question; what the policy says is noted in `said`."""
        self._rng, self._said = rng, said
        return rng.choice(self._agents).ask(self._image, "Which <answer>digit</answer> is it?")

    def _speak(self, _conversation: Conversation) -> str:
        # Calls that can be made lead further into the loop than three malformed turns.
        self._said.append(turn(self._rng) if self._rng.random() < 0.6 else _crop(self._rng))
        return self._said[-1]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--agent-share", type=float, default=0.02)
    given = options.parse_args()
    fuzz, asker = Fuzz(), Asker()
    every = round(1 / given.agent_share) if given.agent_share else given.n + 1
    for n in track(range(given.n), "turns", console=Console(stderr=True)):
        rng = random.Random(f"{given.seed}/{n}")
        said = [turn(rng)]
        try:
            fuzz.read(said[0])
            if n % every == 0:
                fuzz.ask(asker, rng, said)
        except Exception as error:
            shown = [text if len(text) < 2000 else f"{text[:1000]} ... {text[-1000:]}" for text in said]
            print(f"turn {n} of seed {given.seed}: {type(error).__name__}: {error}\n{shown!r}", file=sys.stderr)
            return 1
    figures = {
        "parse": fuzz.parsed.figures(),
        "native": fuzz.native.figures(),
        "outcomes": dict(fuzz.outcomes.most_common()),
        "questions": sum(fuzz.endings.values()),
        "endings": dict(fuzz.endings.most_common()),
    }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
