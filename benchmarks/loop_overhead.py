"""What does the loop itself cost a question? `python benchmarks/loop_overhead.py`

A scripted policy answers at once, so that nothing but the agent and LangGraph is timed: a question that is
answered at a glance, and one with a tool call. The goal for the former is 2 ms. The processor's time is what
to compare on a machine that is busy with other things.
"""

import asyncio
import json
import statistics
import time

from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy

QUESTIONS = 500
CALL = '<tool_call>{"name": "zoom_crop", "arguments": {"bbox_2d": [100, 100, 500, 500]}}</tool_call>'
ANSWER = "<think>I see it.</think><answer>7</answer>"


async def medians_ms(replies: list[str], image: Image.Image) -> dict[str, float]:
    """Median wall time and processor time of a question, in milliseconds."""
    agent = VisionAgent(ScriptedPolicy(replies))
    wall, processor = [], []
    for _ in range(QUESTIONS):
        started = time.perf_counter(), time.process_time()
        await agent.aask(image, "Which digit is it?")
        wall.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {
        "wall_ms": round(1000 * statistics.median(wall), 2),
        "processor_ms": round(1000 * statistics.median(processor), 2),
    }


async def main() -> None:
    image = Image.new("RGB", (64, 64), "white")
    figures = {
        "direct": await medians_ms([ANSWER], image),
        "one_call": await medians_ms([CALL, ANSWER], image),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
