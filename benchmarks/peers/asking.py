"""The work that loops are compared at: a question about an image, one tool call, an answer. Our side of it.

In the process, nobody renders or encodes anything: the model answers at once and never looks, and the peer's tool
gives back an image that is there already. Over HTTP, all of it happens: the image is read, encoded and sent, the
region is cut out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from endpoint import endpoint
from measuring import Row, alternating
from pictures import photograph
from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy

QUESTION = "Which digit is it?"
BOX = [100, 100, 500, 500]  # per mille of the sides, in Qwen3-VL's convention
CALL = f'<tool_call>{{"name": "zoom_crop", "arguments": {{"bbox_2d": {BOX}}}}}</tool_call>'
ANSWER = "<think>I see it.</think><answer>7</answer>"
PHOTOGRAPH = (4032, 3024)
IN_PROCESS, OVER_HTTP = "a question with one tool call, model answers at once", "the same over HTTP, 12-megapixel JPEG"
SENT = (
    ("bytes", "MB sent", 1e6),
    ("visual tokens", "visual tokens", 1),
    ("images", "images", 1),
    ("requests", "requests", 1),
)

Ask = Callable[[], Awaitable[object] | object]


def ours_in_process(path: Path) -> Ask:
    """Our loop on the image at `path`, with a policy that answers at once."""
    agent = VisionAgent(ScriptedPolicy([CALL, ANSWER]), tools=["zoom_crop"])

    async def ask() -> None:
        result = await agent.aask(path, QUESTION)
        assert result.answer == "7", result.trajectory.detail

    return ask


async def in_process(folder: Path, theirs: Callable[[Path], Ask], tiny: bool) -> Row:
    """`theirs` makes a peer's loop over an image's path; the cost of a question to both."""
    path = folder / "small.png"
    Image.new("RGB", (64, 64), "white").save(path)
    ours = ours_in_process(path)
    return Row(IN_PROCESS, "ms", *await alternating(ours, theirs(path), 2 if tiny else 200))


async def over_http(
    folder: Path,
    theirs: Callable[[Path, str], Ask],
    tool: str,
    arguments: dict[str, object],
    tiny: bool,
    note: str = "",
) -> list[Row]:
    """`theirs` makes a peer's loop over an image's path and an endpoint's address, which calls `tool`."""
    size = (64, 48) if tiny else PHOTOGRAPH
    path = photograph(folder / "photograph.jpg", size)
    repeats = 1 if tiny else 9
    with endpoint("zoom_crop", {"bbox_2d": BOX}) as for_us, endpoint(tool, arguments) as for_them:
        agent = VisionAgent("qwen3-vl-8b", base_url=for_us.url, api_key="none", tools=["zoom_crop"])

        numbers, file = count(), path.read_bytes()

        async def ours() -> None:
            # Another picture each time, by the bytes after its end: else ours would remember how it encoded the last.
            result = await agent.aask(file + next(numbers).to_bytes(4), QUESTION)
            assert result.answer == "7", result.trajectory.detail
            assert len(result.trajectory.calls) == 1

        rows = [Row(OVER_HTTP, "ms", *await alternating(ours, theirs(path, for_them.url), repeats), note)]
        tallies = [server.tally() for server in (for_us, for_them)]
    for what, unit, scale in SENT:
        ours_sent, theirs_sent = (tally[what] / scale / (repeats + 1) for tally in tallies)
        rows.append(Row(OVER_HTTP, unit, ours_sent, theirs_sent))
    return rows
