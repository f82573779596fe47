"""From what happened to what the client gets: the agent's result as a completion, whole or while it comes about."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ..messages import StopReason, Trajectory, Usage
from ..result import DoneEvent, Event, ObservationEvent, Result, TextEvent, TurnEvent
from .errors import of_stop
from .wire import END, Completion, event


def failure(trajectory: Trajectory) -> tuple[int, dict[str, Any]] | None:
    """HTTP status and error of a question that has no answer because something failed; None for all others."""
    if trajectory.answer is not None:
        return None
    return of_stop(trajectory.stop_reason, trajectory.detail or trajectory.stop_reason.value)


def whole(result: Result, completion: Completion, *, trajectory: bool) -> dict[str, Any]:
    """The completion of a question that did not fail."""
    found = result.trajectory
    message = {"role": "assistant", "content": found.answer or "", "refusal": None}
    if thoughts := "\n".join(turn.thought for turn in found.turns if turn.thought):
        message["reasoning_content"] = thoughts
    told = _told(found, trajectory=trajectory)
    return completion.whole(message, _finish_reason(found), usage(found.usage), agentic_vision=told)


async def chunks(
    events: AsyncGenerator[Event, None], completion: Completion, *, with_usage: bool, trajectory: bool
) -> AsyncGenerator[str, None]:
    """The completion as server-sent events: thoughts and calls as reasoning while they come, then the answer."""
    thoughts, begun = _Thoughts(), False
    async with aclosing(events):
        async for happened in events:
            if not begun:  # not before: what is wrong with the question is told by the status
                begun = True
                yield completion.chunk({"role": "assistant", "content": ""})
            match happened:
                case TextEvent(text):
                    if said := thoughts.add(text):
                        yield completion.chunk({"reasoning_content": said})
                case TurnEvent(turn):
                    calls = "".join(f"[{call.name} {_arguments(call.arguments)}]\n" for call in turn.calls)
                    if said := thoughts.end(turn.thought) + calls:
                        yield completion.chunk({"reasoning_content": said})
                case ObservationEvent(step) if step.failure is not None:
                    yield completion.chunk({"reasoning_content": f"[{step.failure.message}]\n"})
                case DoneEvent(result):
                    for last in _last_chunks(result, completion, with_usage=with_usage, trajectory=trajectory):
                        yield last
                case _:
                    pass


def _last_chunks(result: Result, completion: Completion, *, with_usage: bool, trajectory: bool) -> list[str]:
    found = result.trajectory
    if (failed := failure(found)) is not None:
        return [event(failed[1]), END]
    said = [completion.chunk({"content": found.answer})] if found.answer else []
    said.append(completion.chunk({}, _finish_reason(found)))
    if with_usage or trajectory:
        told = _told(found, trajectory=trajectory)
        said.append(completion.last_chunk(usage(found.usage), agentic_vision=told))
    return [*said, END]


def usage(spent: Usage) -> dict[str, Any]:
    """OpenAI's usage, and what it says of images: seen, at full resolution, and the share that was saved."""
    return {
        "prompt_tokens": spent.input_tokens,
        "completion_tokens": spent.output_tokens,
        "total_tokens": spent.input_tokens + spent.output_tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cached_tokens},
        "visual_tokens": spent.visual_tokens,
        "full_resolution_visual_tokens": spent.full_resolution_tokens,
        "visual_tokens_saved": spent.saved,
    }


def _told(found: Trajectory, *, trajectory: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"stop_reason": found.stop_reason.value, "detail": found.detail}
    return {**told, "trajectory": found.model_dump(mode="json")} if trajectory else told


def _finish_reason(found: Trajectory) -> str:
    if found.stop_reason is StopReason.REFUSED:
        return "content_filter"
    return "stop" if found.answer is not None else "length"


def _arguments(arguments: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


class _Thoughts:
    """The inside of `<think>`, of the turn that is being written, as it comes."""

    def __init__(self) -> None:
        self._text = ""
        self._said = 0

    def add(self, piece: str) -> str:
        self._text += piece
        _, opened, inside = self._text.partition("<think>")
        if not opened:
            return ""
        inside, closed, _ = inside.partition("</think>")
        if not closed:  # what may be the beginning of the closing tag waits
            inside = inside[: inside.rfind("<")] if "<" in inside[-8:] else inside
        new, self._said = inside[self._said :], max(self._said, len(inside))
        return new

    def end(self, thought: str | None) -> str:
        """What was not said yet of the turn's thought; the next turn begins."""
        rest = "\n" if self._said else f"{thought}\n" if thought else ""
        self._text, self._said = "", 0
        return rest
