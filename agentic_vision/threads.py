"""How does a question begin, or go on? With images, or from what a checkpointer holds of its thread."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph.types import Command

from . import history
from .errors import ConfigError
from .graph import STEPS, State
from .messages import Asked, SourceRecord, StopReason
from .runs import Run, Runs, check_same, opened
from .source import ImageLike, Source
from .url_rules import is_url
from .whole_text import whole

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from .graph import Graph

Images: TypeAlias = "ImageLike | Source | Sequence[ImageLike | Source]"
Begun: TypeAlias = "Callable[[tuple[Source, ...]], Run]"
"""Makes the run of a question from its sources."""

_ANEW = {"stop": None, "detail": None, "ending": None, "answer": None}
_RESUMABLE = (StopReason.POLICY_FAILED, StopReason.MISCONFIGURED, StopReason.DEADLINE)


def check_name(thread_id: str | None) -> None:
    """Raises `ConfigError` for what is no name of a thread."""
    if thread_id is not None and (not isinstance(thread_id, str) or not thread_id or whole(thread_id) != thread_id):
        raise ConfigError(f"thread_id={thread_id!r} is no name of a thread: give a text, such as str() of a number")


@dataclass(frozen=True)
class Start:
    """Where a question is taken up: `given` are its images as they were given, `state` what the graph has then.

    `config` is LangGraph's, with the thread; `command` is the graph's input, None where it goes on from its checkpoint;
    `over`: there is nothing left to do.
    """

    config: RunnableConfig
    run: Run
    given: Sequence[ImageLike | Source]
    state: dict[str, Any]
    command: State | Command[str] | None
    over: bool = False


@dataclass(frozen=True)
class Threads:
    """The threads of a graph; `stored`: it has a checkpointer, which holds them by their ids."""

    graph: Graph
    runs: Runs
    max_turns: int
    stored: bool

    async def asked(self, images: Images | None, question: str, thread_id: str | None, begun: Begun) -> Start:
        """A question begun: in a new thread, or in one that has ended.

        Raises `ConfigError` where there is no image, or the thread's last question broke off.
        """
        state = await self._snapshot(thread_id) if thread_id is not None else {}
        if thread_id is None or not state.get("question"):
            if images is None:
                raise ConfigError("there is no image: give one, or the thread_id of a question that had one")
            sources, opened_from = await _opened(images)
            first: State = {"id": thread_id or uuid.uuid4().hex, "question": question}
            return self._first(first, begun(sources), opened_from)
        if state.get("stop") is None:
            raise ConfigError(f"the thread {thread_id!r} has a question that broke off: resume() it first")
        run, given = await self._again(state, images, begun)
        asked = [Asked(question=question).model_dump(mode="json")]
        # Where nothing could be shown for the budget of the first question, this one begins with the glance.
        seen = history.views(STEPS.validate_python(state["steps"]))
        update = {**_ANEW, "steps": asked}
        command = Command(update=update, goto="think" if seen else "glance")
        state = {**state, **_ANEW, "steps": [*state["steps"], *asked]}
        return Start(self._config(thread_id), run, given, state, command)

    async def resumed(self, thread_id: str, images: Images | None, begun: Begun) -> Start:
        """A question that broke off, taken up again. Raises `ConfigError` for an unknown thread or other images."""
        state = await self._snapshot(thread_id)
        if not state.get("question"):
            raise ConfigError(f"the checkpointer knows no thread {thread_id!r}: ask() first")
        if not state.get("sources") and images is None:
            raise ConfigError(f"the thread {thread_id!r} broke off before the images were seen: pass them again")
        run, given = await self._again(state, images, begun)
        config, stopped = self._config(thread_id), state.get("stop")
        if stopped is None:  # it broke off: LangGraph goes on where it was
            if "id" not in state:  # begun on the graph itself, and not one step was done
                return self._first({"id": thread_id, "question": state["question"]}, run, given)
            return Start(config, run, given, state, None)
        if state.get("answer") is not None or StopReason(stopped) not in _RESUMABLE:
            return Start(config, run, given, state, None, over=True)
        # It ended without an answer: the last turn is asked for anew.
        return Start(config, run, given, {**state, **_ANEW}, Command(update=_ANEW, goto="think"))

    def _first(self, state: State, run: Run, given: Sequence[ImageLike | Source]) -> Start:
        return Start(self._config(state["id"]), run, given, {**state, "steps": []}, state)

    def _config(self, thread_id: str) -> RunnableConfig:
        """With which LangGraph runs a question."""
        # Glance, then two nodes a turn: LangGraph's own limit must never be the one that ends a question.
        config: RunnableConfig = {"recursion_limit": 2 * self.max_turns + 4}
        if self.stored:
            config["configurable"] = {"thread_id": thread_id}
        return config

    async def _snapshot(self, thread_id: str) -> dict[str, Any]:
        """The state of the thread's last checkpoint; without a question for a thread that is not known.

        What a step wrote before the process ended, without a checkpoint yet, is not in it: when the question goes on,
        LangGraph takes that step as done, and tells of it.
        """
        if not self.stored:
            raise ConfigError("a thread_id needs somewhere to be stored: VisionAgent(checkpointer=...)")
        snapshot = await self.graph.aget_state(self._config(thread_id))
        # Of a checkpoint that is named, LangGraph gives what is in it, and nothing beside it.
        stored = await self.graph.aget_state(snapshot.config) if snapshot.tasks else snapshot
        return dict(stored.values)

    async def _again(
        self, state: Mapping[str, Any], images: Images | None, begun: Begun
    ) -> tuple[Run, Sequence[ImageLike | Source]]:
        """The run of a stored thread, and its images: the given ones, or those that it knows how to find."""
        records = [SourceRecord.model_validate(record) for record in state.get("sources", ())]
        if images is None:
            sources = (await self.runs.get(state["id"], records)).sources
            return begun(sources), sources
        sources, given = await _opened(images)
        if records:
            check_same(sources, records)
        return begun(sources), given


async def _opened(images: Images) -> tuple[tuple[Source, ...], list[ImageLike | Source]]:
    """The sources, and the images as they were given; those that were fetched are not fetched for a trace again."""
    listed: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    if not listed:
        raise ConfigError("there is no image: give one, or a list of them")
    sources = await opened(listed)
    fetched = (isinstance(image, str) and is_url(image) for image in listed)
    return sources, [source if new else image for source, image, new in zip(sources, listed, fetched, strict=True)]
