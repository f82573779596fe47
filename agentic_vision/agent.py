"""`VisionAgent`: ask a question about images, pay for as few visual tokens as it takes.

agent = VisionAgent()
result = agent.ask("receipt.jpg", "What is the total?")
result.answer, result.stop_reason, result.usage.saved
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from . import sync, telemetry
from .checkpoints import for_async
from .errors import ConfigError
from .graph import STEPS, Loop
from .image_store import ImageStore
from .limits import Limits
from .many import ask_many
from .messages import Observation, Turn
from .policies.chosen import policy_of
from .policy import Policy
from .record import trajectory
from .result import DoneEvent, Event, GlanceEvent, ObservationEvent, Result, TextEvent, TurnEvent
from .runs import Run, Runs
from .threads import Images, Start, Threads, check_name
from .tool import VisualTool
from .toolbox import Toolbox
from .whole_text import whole

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["DoneEvent", "Event", "GlanceEvent", "ObservationEvent", "Result", "TextEvent", "TurnEvent", "VisionAgent"]


class VisionAgent:
    """An agent that glances, looks again only when it must, and answers.

    - `policy`: a `Policy`; the folder or hub name of local weights; a model's name, with `base_url` (and `api_key`) of
      its OpenAI-compatible endpoint; or None for the checkpoint that we ship.
    - `tools`: names of installed tools and `@visual_tool` functions; None for zoom_crop, full_res and resize.
    - `glance`: the fraction of the full visual tokens at which an image is first shown, (0, 1].
    - `max_turns`, `max_visual_tokens` (the glance counts) and `deadline` (seconds) bound every question.
    - `checkpointer`: any LangGraph checkpointer, synchronous or not; `image_folder`: where images that are no files are
      kept for it, once each, so that their threads can go on in another process.
    - `seed`: what is drawn by chance in every question that is given none of its own.

    `graph` is the compiled LangGraph graph. Raises `ConfigError` for options that cannot be.
    """

    def __init__(
        self,
        policy: Policy | str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tools: Toolbox | Iterable[str | VisualTool | Callable[..., Any]] | None = None,
        glance: float = 0.25,
        max_turns: int = 4,
        max_visual_tokens: int | None = None,
        deadline: float | None = None,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        image_folder: str | os.PathLike[str] | None = None,
        seed: int | None = None,
    ) -> None:
        if isinstance(glance, bool) or not isinstance(glance, int | float) or not 0 < glance <= 1:
            raise ConfigError(f"glance={glance!r}: give a fraction of the full visual tokens, above 0 and up to 1")
        limits = Limits(max_turns, max_visual_tokens, deadline)
        self.toolbox = Toolbox.of(tools)
        self.policy = policy_of(policy, base_url, api_key)
        self.seed = seed
        self._runs = Runs(seed, ImageStore(image_folder) if image_folder is not None else None)
        self._loop = Loop(
            policy=self.policy,
            toolbox=self.toolbox,
            runs=self._runs,
            glance_fraction=glance,
            limits=limits,
        )
        self.graph = self._loop.compile(for_async(checkpointer) if checkpointer is not None else None)
        self._threads = Threads(self.graph, self._runs, limits.max_turns, stored=checkpointer is not None)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides over its answers, beside the policy: JSON, to be stored with them."""
        limits = dataclasses.asdict(self._loop.limits)
        return {"tools": list(self.toolbox.names), "glance": self._loop.glance_fraction, **limits, "seed": self.seed}

    def ask(
        self, images: Images | None, question: str, *, seed: int | None = None, thread_id: str | None = None
    ) -> Result:
        """Ask about one image or several: paths, bytes, PIL images, numpy arrays or URLs.

        `thread_id` names the thread in the checkpointer. A thread that has ended can be asked again, with the same
        images or None: what was seen and said stays. Raises `ImageError` for an image that is none, or whose
        file is damaged behind its header, and `ConfigError` for an empty question; what else happens is in the result's
        `stop_reason`.
        """
        return sync.run(self.aask(images, question, seed=seed, thread_id=thread_id))

    async def aask(
        self, images: Images | None, question: str, *, seed: int | None = None, thread_id: str | None = None
    ) -> Result:
        """`ask`, for async callers."""
        return await _result(self.astream(images, question, seed=seed, thread_id=thread_id))

    def stream(
        self,
        images: Images | None,
        question: str,
        *,
        seed: int | None = None,
        thread_id: str | None = None,
        text: bool = False,
    ) -> Iterator[Event]:
        """`ask`, as events while it happens: glances, turns, observations, and at last the result.

        `text`: what the model says comes in pieces too, while it says it, where the policy can.
        """
        return sync.iterate(self.astream(images, question, seed=seed, thread_id=thread_id, text=text))

    async def astream(
        self,
        images: Images | None,
        question: str,
        *,
        seed: int | None = None,
        thread_id: str | None = None,
        text: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """`stream`, for async callers."""
        check_name(thread_id)
        with telemetry.question(self.policy, thread_id) as span, self._runs.alone(thread_id):
            if not isinstance(question, str) or not question.strip():
                raise ConfigError("the question is empty: ask something about the image")
            begun = partial(Run, seed=self.seed if seed is None else seed, heard=text, span=span)
            start = await self._threads.asked(images, whole(question), thread_id, begun)
            async with aclosing(self._events(start)) as events:
                async for event in events:
                    yield event

    def resume(self, thread_id: str, images: Images | None = None, *, seed: int | None = None) -> Result:
        """Go on with a question that broke off: the process ended, the policy failed, or the deadline passed.

        Images that were files are opened again from their paths; others come from the `image_folder`, or must be
        given. Without such a folder, URLs are fetched again, and must still lead to the same image. A question that has
        ended otherwise gives the result that it had. Raises `ConfigError` for an unknown thread or other images.
        """
        return sync.run(self.aresume(thread_id, images, seed=seed))

    async def aresume(self, thread_id: str, images: Images | None = None, *, seed: int | None = None) -> Result:
        """`resume`, for async callers."""
        check_name(thread_id)
        with telemetry.question(self.policy, thread_id) as span, self._runs.alone(thread_id):
            begun = partial(Run, seed=self.seed if seed is None else seed, span=span)
            start = await self._threads.resumed(thread_id, images, begun)
            if start.over:
                self._runs.end(thread_id)
                return Result(trajectory(start.state, start.run, self._loop), start.given)
            return await _result(self._events(start))

    def batch(self, rows: Iterable[tuple[Images, str]], *, concurrency: int = 16) -> list[Result]:
        """Ask many questions, at most `concurrency` at a time; results come in the order of the rows.

        A row that fails, for a broken image or because it is no such pair, is a result with the stop reason
        `POLICY_FAILED` and the error in its trajectory's `detail`. Raises `ConfigError` for a concurrency below 1.
        """
        return sync.run(self.abatch(rows, concurrency=concurrency))

    async def abatch(self, rows: Iterable[tuple[Images, str]], *, concurrency: int = 16) -> list[Result]:
        """`batch`, for async callers."""
        return await ask_many(self, rows, concurrency)

    async def _events(self, start: Start) -> AsyncGenerator[Event, None]:
        """Run the graph from `start`."""
        run, state = start.run, start.state
        id = state["id"]
        await self._runs.begin(id, run)
        try:
            # Stored before the next step begins: what a killed process has seen and paid for is not lost.
            durability: Any = "sync" if self._threads.stored else None
            modes: Any = ["updates", "custom"] if run.heard else ["updates"]
            stream = self.graph.astream(start.command, start.config, stream_mode=modes, durability=durability)
            async with aclosing(cast(AsyncGenerator[tuple[str, Any], None], stream)) as updates:
                async for mode, update in updates:
                    if mode == "custom":
                        yield TextEvent(update)
                        continue
                    # With `__metadata__` where the step was done, but not yet stored, when the process ended.
                    ((node, changes),) = ((name, made) for name, made in update.items() if name != "__metadata__")
                    added = changes.get("steps", [])
                    state = {**state, **changes, "steps": [*state["steps"], *added]}
                    for step in STEPS.validate_python(added):
                        if isinstance(step, Turn):
                            yield TurnEvent(step)
                        elif isinstance(step, Observation):
                            yield GlanceEvent(step) if node == "glance" else ObservationEvent(step)
            ended = trajectory(state, run, self._loop)
            telemetry.answered(run.span, ended)
            yield DoneEvent(Result(ended, start.given))
        finally:
            self._runs.end(id)
            self.policy.forget(id)


async def _result(events: AsyncGenerator[Event, None]) -> Result:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, DoneEvent):
                return event.result
    raise AssertionError("a stream of events ends with DoneEvent")
