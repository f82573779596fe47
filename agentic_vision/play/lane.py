"""One question on the page, from the first glance on: what was seen so far, as HTML, in the words of the trace."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from html import escape

from ..agent import VisionAgent
from ..messages import Observation, SourceRecord, Step, StopReason, Trajectory, Usage
from ..source import Source
from ..trace import answer_html, budget_html
from ..trace_pictures import Pictures
from ..trace_steps import timeline_html
from ..view import View

PICTURE_BYTES = 600_000  # of all pictures, about: they are sent anew with every step


class Lane:
    """`agent` answering `question` about `source`. `title`: what the page calls it."""

    def __init__(self, agent: VisionAgent, source: Source, question: str, title: str) -> None:
        self.title = title
        self._agent, self._source, self._question = agent, source, question
        self._prefix = f"av{uuid.uuid4().hex[:10]}-"  # two lanes stand on one page
        self._steps: list[Step] = []
        self._made: dict[View, str] = {}
        self._started = time.monotonic()

    def add(self, step: Step) -> None:
        """Something happened."""
        self._steps.append(step)

    def html(self, ended: Trajectory | None = None) -> str:
        """What was seen so far; with the `ended` trajectory also how it ended."""
        told = ended or self._so_far()
        pictures = Pictures(told, [self._source], PICTURE_BYTES, self._prefix, made=self._made)
        answer = answer_html(told) if ended else ""
        timeline = timeline_html(told, pictures, ended=ended is not None)
        page = (
            f"<style>{pictures.lit_css()}</style><h2>{escape(self.title)}</h2>{answer}{budget_html(told)}"
            f'<div class="seeing">{pictures.sources_html()}{timeline}</div>'
        )
        # A model may write half a surrogate pair, which UTF-8 cannot hold.
        return page.encode("utf-8", "replace").decode()

    def _so_far(self) -> Trajectory:
        source, policy = self._source, self._agent.policy
        glance = policy.family.glance(source.size, self._agent.settings["glance"])
        seen = sum(step.visual_tokens for step in self._steps if isinstance(step, Observation))
        return Trajectory(
            id=self._prefix,
            question=self._question,
            sources=(SourceRecord(label=source.label, digest=source.digest, size=source.size),),
            family=policy.family.name,
            tools=self._agent.toolbox.names,
            steps=tuple(self._steps),
            stop_reason=StopReason.ANSWERED,  # of what goes on, nobody is told it
            usage=Usage(visual_tokens=seen, full_resolution_tokens=glance.full_tokens, glance_floored=glance.floored),
            seconds=time.monotonic() - self._started,
        )


def comparison_html(ended: Sequence[tuple[str, Trajectory]]) -> str:
    """A row a lane: its title, its answer, what it cost and how long it took."""
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th><td dir="auto">{escape(told.answer or "no answer")}</td>'
        f"<td>{told.usage.visual_tokens:,}</td><td>{told.seconds:.2f} s</td></tr>"
        for title, told in ended
    )
    head = '<tr><th></th><th scope="col">Answer</th><th scope="col">Visual tokens</th><th scope="col">Time</th></tr>'
    page = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return page.encode("utf-8", "replace").decode()
