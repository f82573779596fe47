"""What comes of the calls of one turn: made side by side, refused where they were made before or cost too much."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from . import history, telemetry
from .messages import Failure, FailureKind, Observation, Step, ToolCall
from .token_family import Family
from .toolbox import CallScope, Toolbox
from .view import View


async def carried_out(
    calls: Sequence[ToolCall],
    before: Sequence[Step],
    scope: CallScope,
    toolbox: Toolbox,
    *,
    budget: int | None,
    seconds: float | None,
    span: Any,
) -> list[Observation]:
    """What comes back, in the order of the calls: all of them refer to the images shown `before`.

    `budget`: visual tokens of the whole question; `seconds`: until its deadline; None is without limit. `span`: the
    question's telemetry.
    """
    made = history.calls_made(before, toolbox)
    work: list[Any] = []
    with telemetry.Calls(span, toolbox.names) as spans:
        for call in calls:
            fingerprint = toolbox.fingerprint(call, len(scope.views))
            make = partial(toolbox.run, call, scope, time_limit=seconds)
            work.append(spans.during(call, partial(_repeated, call) if fingerprint in made else make))
            made.add(fingerprint)
        results: list[Observation] = [await work[0]] if len(work) == 1 else await asyncio.gather(*work)
        views, spent = list(scope.views), history.spent(history.current(before))
        observations = []
        for result in results:
            observation = _admitted(result, views, spent, scope.family, budget)
            if observation.view is not None:
                views.append(observation.view)
                spent += observation.visual_tokens
            observations.append(observation)
        spans.came_back(observations)
    return observations


def _admitted(
    observation: Observation, views: Sequence[View], spent: int, family: Family, budget: int | None
) -> Observation:
    """The observation with its number and cost, or refused: shown before, or beyond the budget."""
    if observation.view is None:
        return observation
    view = observation.view if budget is None else _within(observation.view, views, budget - spent, family)
    cost = family.tokens(view.size)
    if view in views:
        number = views.index(view) + 1
        message = f"Image {number} shows exactly that. Look elsewhere, or answer with what you have seen."
        failure = Failure(kind=FailureKind.REPEATED, message=message)
    elif budget is not None and spent + cost > budget:
        message = "There is no budget left for another view like that. Answer with what you have seen."
        failure = Failure(kind=FailureKind.OVER_BUDGET, message=message)
    else:
        return observation.model_copy(update={"view": view, "visual_tokens": cost, "image": len(views) + 1})
    return observation.model_copy(update={"view": None, "failure": failure})


def _within(view: View, views: Sequence[View], left: int, family: Family) -> View:
    """`view` as large as the tokens that are `left` allow, where that still shows more than was seen; else as it is."""
    smaller = view.resized(family.at_most(view.size, max(left, 0)))
    seen = [one.detail for one in views if one.source == view.source and one.box.contains(view.box)]
    return smaller if family.tokens(smaller.size) <= left and smaller.detail > max(seen, default=0.0) else view


async def _repeated(call: ToolCall) -> Observation:
    message = "You made this very call before. Look at what it showed, look elsewhere, or answer."
    return Observation(call=call, failure=Failure(kind=FailureKind.REPEATED, message=message))
