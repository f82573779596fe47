"""From what happens to what the page shows: the events of a question as updates, a line of JSON each.

`{"lane": "agent"|"full", "html"}`: the lane anew, escaped; `{"lane", "text"}`: the next piece of what the model is
writing, as it wrote it; `{"lane", "done": {"answer", "stop_reason", "visual_tokens", "full_resolution_tokens",
"seconds", "tool_calls"}}`; `{"comparison": html}`; `{"error": words}`, which is the last one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from ..errors import AgenticVisionError
from ..messages import Trajectory
from ..result import DoneEvent, GlanceEvent, ObservationEvent, TextEvent, TurnEvent
from ..server.pumped import Pumped
from ..source import Source
from .agents import Agents
from .lane import Lane, comparison_html
from .page_question import PageQuestion

_log = logging.getLogger(__name__)


def line(**update: Any) -> str:
    """An update as it is sent."""
    return json.dumps(update) + "\n"


async def updates(agents: Agents, asked: PageQuestion) -> AsyncGenerator[str, None]:
    """The updates of a question: the agent's, and then, to be compared, those at full resolution.

    One after the other, or neither's seconds would be its own.
    """
    try:
        source = await asyncio.to_thread(_opened, asked)
        lanes = [("agent", agents.using(asked.tools), "The agent")]
        if asked.compare:
            lanes.append(("full", agents.full, "Full resolution, no tools"))
        ended: list[tuple[str, Trajectory]] = []
        for name, agent, title in lanes:
            lane = Lane(agent, source, asked.question, title)
            # Pumped: the agent does not wait until the page is drawn, or its seconds would be the page's.
            pumped = Pumped(agent.astream(source, asked.question, text=True))
            try:
                while (event := await pumped.next()) is not None:
                    match event:
                        case TextEvent(text):
                            yield line(lane=name, text=text)
                        case GlanceEvent(step) | TurnEvent(step) | ObservationEvent(step):
                            lane.add(step)
                            yield line(lane=name, html=await asyncio.to_thread(lane.html))
                        case DoneEvent(result):
                            ended.append((title, result.trajectory))
                            yield line(lane=name, html=await asyncio.to_thread(lane.html, result.trajectory))
                            yield line(lane=name, done=_told(result.trajectory))
            finally:
                pumped.cancel()
        if asked.compare:
            yield line(comparison=comparison_html(ended))
    except AgenticVisionError as error:
        yield line(error=str(error))
    except Exception as error:  # of a policy of somebody's own
        _log.exception("a question failed")
        yield line(error=f"the question failed ({type(error).__name__}): what runs agentic-vision play says more")


def _opened(asked: PageQuestion) -> Source:
    source = asked.source()
    hash(source.digest)  # which it keeps: hashed in this thread, while the page goes on for others
    return source


def _told(ended: Trajectory) -> dict[str, Any]:
    return {
        "answer": ended.answer,
        "stop_reason": ended.stop_reason.value,
        "visual_tokens": ended.usage.visual_tokens,
        "full_resolution_tokens": ended.usage.full_resolution_tokens,
        "seconds": ended.seconds,
        "tool_calls": [call.name for call in ended.calls],
    }
