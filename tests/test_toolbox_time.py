"""Tools that take too long: given up in time, not piled up, and nobody waits for them at the end."""

# ruff: noqa: ARG001 (a tool takes the view, whether or not it needs it)

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from tool_calls import look, run, slow

from agentic_vision import Toolbox, View, visual_tool
from agentic_vision.limited import LEFT_BEHIND
from agentic_vision.messages import FailureKind, ToolCall


@visual_tool(time_limit=0.05)
def hangs(view: View) -> str:
    """Hang."""
    time.sleep(30)
    return "late"


@visual_tool(time_limit=0.05)
async def hangs_on(view: View) -> str:
    """Refuse to be cancelled."""
    while not let_go.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return "late"


let_go = threading.Event()


async def in_time(tool):
    let_go.clear()
    started = time.perf_counter()
    call = ToolCall(id="call_1", name=tool.name)
    seen = await Toolbox.of([tool]).run(call, look())
    let_go.set()
    return seen, time.perf_counter() - started


@pytest.mark.parametrize("tool", [hangs, hangs_on])
def test_a_slow_tool_is_given_up_in_time(tool):
    seen, seconds = asyncio.run(in_time(tool))
    assert seen.failure.kind is FailureKind.TIME_LIMIT
    assert seconds < 20  # on a machine however busy; the tool itself never ends


def test_the_callers_limit_shortens_the_tools_own():
    assert run([slow], "slow", {"seconds": 5}, time_limit=0.02).failure.kind is FailureKind.TIME_LIMIT
    assert run([slow], "slow", {"seconds": 0}).text == "done"


def test_calls_that_never_come_back_do_not_pile_up():
    release = threading.Event()
    begun = []

    @visual_tool(time_limit=0.01)
    def sleeps(view: View) -> str:
        """Sleep until it is let go."""
        begun.append(threading.current_thread())
        release.wait()
        return "awake"

    async def calls(toolbox, count):
        call = ToolCall(id="call_1", name="sleeps")
        return [await toolbox.run(call, look()) for _ in range(count)]

    toolbox = Toolbox.of([sleeps])
    kinds = [seen.failure.kind for seen in asyncio.run(calls(toolbox, LEFT_BEHIND + 3))]
    assert kinds == [FailureKind.TIME_LIMIT] * LEFT_BEHIND + [FailureKind.TOOL_RAISED] * 3
    assert len(begun) == LEFT_BEHIND
    release.set()
    for thread in begun:
        thread.join()
    asyncio.run(calls(toolbox, 1))
    assert len(begun) == LEFT_BEHIND + 1  # they came back: it is called again


def test_a_hung_tool_does_not_hold_up_the_end_of_the_process():
    program = textwrap.dedent("""
        import threading
        import time
        from PIL import Image
        from agentic_vision import View, VisionAgent, visual_tool
        from agentic_vision.policies.scripted import ScriptedPolicy

        @visual_tool(time_limit=0.1)
        def hang(view: View) -> str:
            "Hang, and leave threads behind that do."
            for _ in range(20):
                threading.Thread(target=time.sleep, args=(600,)).start()
            time.sleep(600)

        policy = ScriptedPolicy(['<tool_call>{"name": "hang"}</tool_call>', "<answer>5</answer>"])
        print(VisionAgent(policy, tools=[hang]).ask(Image.new("RGB", (32, 32)), "What?").answer)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "5"
