"""What OpenTelemetry hears: the spans of a test, as a tree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs the extra: pip install 'agentic-vision[dev]'")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agentic_vision import telemetry

QUESTION = "Whose salary is 5931?"
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Heard:
    """The spans that were exported, as a tree."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("the application")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time)

    def below(self, span: Any) -> list[str]:
        """The names of its children, in the order in which they began."""
        id = span.get_span_context().span_id
        children = [child for child in self.spans if child.parent is not None and child.parent.span_id == id]
        return [child.name for child in sorted(children, key=lambda child: child.start_time)]

    def said(self) -> str:
        """All of the spans but ids and times, whose digits may spell anything."""
        drawn = {"context", "parent_id", "start_time", "end_time"}
        spans = [json.loads(span.to_json()) for span in self.spans]
        for event in (event for span in spans for event in span["events"]):
            del event["timestamp"]
        return json.dumps([{name: value for name, value in span.items() if name not in drawn} for span in spans])


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Every span of the block, each of which must have ended with it."""
    monkeypatch.delenv(CAPTURE, raising=False)
    heard = Heard()
    monkeypatch.setattr(telemetry, "_tracer", lambda: heard.tracer)
    yield heard
    assert all(span.end_time is not None for span in heard.spans)
    assert not trace.get_current_span().is_recording()


def error(span: ReadableSpan) -> Any:
    assert (span.status.status_code is StatusCode.ERROR) == ("error.type" in span.attributes)
    return span.attributes.get("error.type")
