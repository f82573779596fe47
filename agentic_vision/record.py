"""From the last state of the graph to the one record that is kept: the `Trajectory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import history
from .graph import STEPS, Loop
from .messages import SourceRecord, StopReason, Trajectory, Turn, Usage
from .profiles import Price
from .runs import Run


def trajectory(state: Mapping[str, Any], run: Run, loop: Loop) -> Trajectory:
    """The trajectory of a question that has ended; `state` is the whole state of the graph."""
    family, steps = loop.policy.family, tuple(STEPS.validate_python(state["steps"]))
    turns = history.turns(steps)
    glances = [family.glance(source.size, loop.glance_fraction) for source in run.sources]
    usage = Usage(
        visual_tokens=history.spent(steps),
        full_resolution_tokens=sum(glance.full_tokens for glance in glances),
        input_tokens=sum(turn.input_tokens for turn in turns),
        cached_tokens=sum(turn.cached_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
        requests=sum(turn.requests for turn in turns),
        cost=_cost(loop, turns),
        glance_floored=any(glance.floored for glance in glances),
    )
    return Trajectory(
        id=state["id"],
        question=state["question"],
        sources=tuple(SourceRecord.model_validate(record) for record in state["sources"]),
        family=family.name,
        tools=loop.toolbox.names,
        steps=steps,
        answer=state.get("answer"),
        stop_reason=StopReason(state["stop"]),
        usage=usage,
        seconds=run.seconds,
        detail=state.get("detail"),
    )


def _cost(loop: Loop, turns: Sequence[Turn]) -> float | None:
    """US dollars; None where the model's price is not known."""
    price: Price | None = getattr(loop.policy, "price", None)
    if price is None:
        return None
    return sum(price.cost(turn.input_tokens, turn.cached_tokens, turn.output_tokens) for turn in turns)
