"""What Prometheus may know: how many questions, how they ended, what they took and saved."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..messages import Trajectory
from .admission import Admission


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        name = "agentic_vision_"
        self._requests = Counter(
            f"{name}requests",
            "Requests for a completion, by the status of the reply.",
            ["status"],
            registry=self._registry,
        )
        self._stops = Counter(
            f"{name}questions",
            "Questions to the agent, by why they ended; without those to the bare policy.",
            ["stop"],
            registry=self._registry,
        )
        self._calls = Counter(f"{name}tool_calls", "Calls of visual tools.", ["tool"], registry=self._registry)
        self._seconds = Histogram(
            f"{name}question_seconds",
            "From the admission of a question to the agent to its answer.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=self._registry,
        )
        self._seen = Counter(f"{name}visual_tokens", "Visual tokens that the agent was shown.", registry=self._registry)
        self._full = Counter(
            f"{name}full_resolution_visual_tokens",
            "What the same images would have cost at full resolution.",
            registry=self._registry,
        )
        running = Gauge(f"{name}running", "Questions that are being asked.", registry=self._registry)
        running.set_function(lambda: admission.running)
        waiting = Gauge(f"{name}waiting", "Questions that wait.", registry=self._registry)
        waiting.set_function(lambda: admission.waiting)

    def answered(self, status: int) -> None:
        """A request was answered with this HTTP status."""
        self._requests.labels(status).inc()

    def asked(self, trajectory: Trajectory, known: tuple[str, ...]) -> None:
        """A question has ended. `known` are the tools there are: what a model makes up is no label."""
        self._stops.labels(trajectory.stop_reason.value).inc()
        self._seconds.observe(trajectory.seconds)
        self._seen.inc(trajectory.usage.visual_tokens)
        self._full.inc(trajectory.usage.full_resolution_tokens)
        for call in trajectory.calls:
            self._calls.labels(call.name if call.name in known else "unknown").inc()

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)
