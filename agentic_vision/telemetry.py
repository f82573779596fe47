"""Where does a question's time go, and what did it cost? OpenTelemetry spans, where the application collects them.

    invoke_agent agentic-vision     the question, its images fetched and opened: what it cost, and why it ended
      chat qwen3-vl-8b              a request to the policy; what its HTTP library reports comes under it
      execute_tool zoom_crop        a call: the view that came back, and its visual tokens

Names: OpenTelemetry's semantic conventions for generative AI, which are still in development; what they have no name
for is under `agentic_vision.`. Only the API is needed (the extra `agentic-vision[otel]`); the application's own
provider decides whether anything is recorded. What was asked, said and answered, and the messages of errors, which may
quote it, are recorded only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is `true` (or `span_only`,
`span_and_event`); images never are.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from . import __version__, history
from .messages import Observation, ToolCall, Trajectory
from .policy import Conversation, Message, Policy, Reply
from .view import View

try:
    from opentelemetry import trace
except ImportError:
    _TRACER = None
else:
    _TRACER = trace.get_tracer("agentic_vision", __version__)

AGENT = "agentic-vision"
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@contextmanager
def question(policy: Policy, thread_id: str | None) -> Iterator[Any]:
    """The span of a question, under the caller's own; None without OpenTelemetry. What ends the block ends it.

    It is not made the current one: an async generator shares its context with whoever iterates over it.
    """
    if (tracer := _tracer()) is None:
        yield None
        return
    attributes = {"gen_ai.agent.name": AGENT, **_asked_of(policy)}
    if thread_id is not None:
        attributes["gen_ai.conversation.id"] = thread_id
    span = _start(tracer, "invoke_agent", AGENT, None, attributes)
    with _ending(span):
        yield span


def answered(span: Any, trajectory: Trajectory) -> None:
    """The question has ended: its span holds what it cost, not what earlier questions of its thread did."""
    if span is None or not span.is_recording():
        return
    steps = history.current(trajectory.steps)
    turns, reason = history.turns(steps), trajectory.stop_reason
    _used(
        span,
        input_tokens=sum(turn.input_tokens for turn in turns),
        cached_tokens=sum(turn.cached_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
    )
    ours = {
        "agentic_vision.visual_tokens": history.spent(steps),
        "agentic_vision.full_resolution_tokens": trajectory.usage.full_resolution_tokens,
        "agentic_vision.turns": len(turns),
        "agentic_vision.calls": sum(len(turn.calls) for turn in turns),
    }
    span.set_attributes({**ours, "agentic_vision.stop_reason": reason.value})
    asked = history.latest_question(trajectory.question, trajectory.steps)
    _content(span, "gen_ai.input.messages", lambda: [_said("user", asked)])
    if (answer := trajectory.answer) is not None:
        _content(span, "gen_ai.output.messages", lambda: [_said("assistant", answer, finish_reason="stop")])
    if reason.failed:
        _failed(span, reason.value, trajectory.detail or "")
    span.end()  # before whoever streams has heard of it: what they do then is not ours


@contextmanager
def chat(
    parent: Any, policy: Policy, conversation: Conversation, seed: int | None
) -> Iterator[Callable[[Reply], None]]:
    """The span of a request to the policy, the current one in the block; what it gives is to be told of the reply."""
    if (tracer := _tracer()) is None:
        yield _nobody
        return
    attributes = _asked_of(policy)
    kind = trace.SpanKind.CLIENT if isinstance(getattr(policy, "model", None), str) else trace.SpanKind.INTERNAL
    span = _start(tracer, "chat", attributes.get("gen_ai.request.model"), parent, attributes, kind)
    if span.is_recording():
        tokens = sum(policy.family.tokens(image.view.size) for image in conversation.images)
        span.set_attribute("agentic_vision.visual_tokens", tokens)
        if seed is not None:
            span.set_attribute("gen_ai.request.seed", seed)
        _content(span, "gen_ai.input.messages", lambda: [_message(message) for message in conversation.messages])
    with _current(span), _ending(span):
        yield partial(_replied, span)


class Calls:
    """The spans of one turn's calls, which may be made side by side. Each lasts as long as its call, and ends when it
    is known whether what came back may be shown.
    """

    def __init__(self, parent: Any, tools: Collection[str]) -> None:
        self._parent, self._tools = parent, tools
        self._made: dict[str, tuple[Any, int]] = {}  # spans by call, with the time at which it came back

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for span, ended in self._made.values():
            span.end(ended)

    async def during(self, call: ToolCall, make: Callable[[], Awaitable[Observation]]) -> Observation:
        """What `make()` brings, its span being the current one meanwhile."""
        if (tracer := _tracer()) is None:
            return await make()
        known = call.name if call.name in self._tools else "unknown_tool"  # a name that the model made up is its text
        attributes = {"gen_ai.tool.name": known, "gen_ai.tool.type": "function", "gen_ai.tool.call.id": call.id}
        span = _start(tracer, "execute_tool", known, self._parent, attributes)
        _content(span, "gen_ai.tool.call.arguments", lambda: call.arguments)
        with _current(span), _ending(span, when_done=False):
            observation = await make()
        self._made[call.id] = span, time.time_ns()
        return observation

    def came_back(self, observations: Sequence[Observation]) -> None:
        """What the model is shown of each call."""
        for observation in observations:
            span, _ = self._made.get(observation.call.id if observation.call else "", (None, 0))
            if span is None or not span.is_recording():
                continue
            if observation.view is not None:
                span.set_attributes(_seen(observation.view, observation))
            if (text := observation.text) is not None:
                _content(span, "gen_ai.tool.call.result", partial(str, text))
            if observation.failure is not None:
                _failed(span, observation.failure.kind.value, observation.failure.message)


def _tracer() -> Any:
    """Ours; None where the application has set no provider, which costs a question nothing."""
    if _TRACER is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return _TRACER


def _nobody(_: Reply) -> None:
    """Nobody listens."""


def _start(
    tracer: Any, operation: str, what: str | None, parent: Any, attributes: Mapping[str, Any], kind: Any = None
) -> Any:
    """A span below `parent`; None is the current one."""
    return tracer.start_span(
        f"{operation} {what}" if what else operation,
        None if parent is None else trace.set_span_in_context(parent),
        kind=trace.SpanKind.INTERNAL if kind is None else kind,
        attributes={"gen_ai.operation.name": operation, **attributes},
    )


def _current(span: Any) -> Any:
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


@contextmanager
def _ending(span: Any, *, when_done: bool = True) -> Iterator[None]:
    """Ends the span with the block: with its error, where there is one, be it that someone left or cancelled it."""
    try:
        yield
    except BaseException as error:
        if span.is_recording():
            _failed(span, type(error).__qualname__, str(error))
            span.end()
        raise
    if when_done and span.is_recording():
        span.end()


def _failed(span: Any, kind: str, message: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(trace.Status(trace.StatusCode.ERROR, message if _captures() else None))


def _replied(span: Any, reply: Reply) -> None:
    if not span.is_recording():
        return
    _used(
        span,
        input_tokens=reply.input_tokens,
        cached_tokens=reply.cached_tokens,
        output_tokens=reply.output_tokens,
        image_tokens=reply.image_tokens,
    )
    why = "length" if reply.truncated else "stop"
    if reply.truncated:
        span.set_attribute("gen_ai.response.finish_reasons", [why])
    _content(span, "gen_ai.output.messages", lambda: [_said("assistant", reply.text, finish_reason=why)])


def _used(
    span: Any, *, input_tokens: int, cached_tokens: int, output_tokens: int, image_tokens: int | None = None
) -> None:
    usage = {
        "input_tokens": input_tokens,
        "cache_read.input_tokens": cached_tokens,
        "image.input_tokens": image_tokens,
        "output_tokens": output_tokens,
    }
    # A policy that does not know says 0: no reply is made of nothing.
    span.set_attributes({f"gen_ai.usage.{name}": count for name, count in usage.items() if count})


def _asked_of(policy: Policy) -> dict[str, Any]:
    """Which model, and whose: as far as the policy tells by its `provider`, `model` and `base_url`."""
    known: dict[str, Any] = {"gen_ai.provider.name": getattr(policy, "provider", "agentic_vision")}
    model = getattr(policy, "model", None)
    name = model if isinstance(model, str) else getattr(model, "name_or_path", None)
    if isinstance(name, str) and name:
        known["gen_ai.request.model"] = os.path.basename(name) if os.path.isabs(name) else name
    if isinstance(url := getattr(policy, "base_url", None), str):
        known |= _server(url)
    return known


def _server(url: str) -> dict[str, Any]:
    """Of an address that cannot be, nothing: whoever asks there will say so, and watching changes no outcome."""
    try:
        address = urlsplit(url)
        port = address.port or {"http": 80, "https": 443}.get(address.scheme)
    except ValueError:
        return {}
    return {"server.address": address.hostname, "server.port": port} if address.hostname and port else {}


def _seen(view: View, observation: Observation) -> dict[str, Any]:
    """`box`: in pixels of the source, whose 0-based number is `source`; `size`: of what was shown."""
    return {
        "agentic_vision.visual_tokens": observation.visual_tokens,
        "agentic_vision.view.source": view.source,
        "agentic_vision.view.box": [float(edge) for edge in (view.box.x0, view.box.y0, view.box.x1, view.box.y1)],
        "agentic_vision.view.size": list(view.size),
    }


def _captures() -> bool:
    return os.environ.get(CAPTURE, "").strip().lower() in ("true", "span_only", "span_and_event")


def _content(span: Any, name: str, content: Callable[[], Any]) -> None:
    """Set as JSON, where the application has asked for what is said."""
    if span.is_recording() and _captures():
        value = content()
        span.set_attribute(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _message(message: Message) -> dict[str, Any]:
    return _said(message.role, message.text)


def _said(role: str, text: str, **more: str) -> dict[str, Any]:
    """A message of the conventions' schema; of its parts the text alone."""
    return {"role": role, "parts": [{"type": "text", "content": text}], **more}
