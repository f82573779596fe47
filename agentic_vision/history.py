"""What has happened in a thread so far, as the loop needs to know it: pure functions of its steps."""

from __future__ import annotations

from collections.abc import Sequence

from .messages import Asked, FailureKind, Observation, Step, Turn
from .toolbox import Toolbox
from .view import View


def current(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps of the latest question; all of them, the glances included, for the first."""
    asked = [place for place, step in enumerate(steps) if isinstance(step, Asked)]
    return steps[asked[-1] + 1 :] if asked else steps


def latest_question(first: str, steps: Sequence[Step]) -> str:
    """What is asked now; `first` is what the thread began with."""
    asked = [step.question for step in steps if isinstance(step, Asked)]
    return asked[-1] if asked else first


def turns(steps: Sequence[Step]) -> list[Turn]:
    """The model's messages, in order."""
    return [step for step in steps if isinstance(step, Turn)]


def views(steps: Sequence[Step]) -> list[View]:
    """Every view that was shown, in order."""
    return [step.view for step in steps if isinstance(step, Observation) and step.view is not None]


def spent(steps: Sequence[Step]) -> int:
    """Visual tokens of the views that were shown."""
    return sum(step.visual_tokens for step in steps if isinstance(step, Observation))


def calls_made(steps: Sequence[Step], toolbox: Toolbox) -> set[tuple[str, str]]:
    """Fingerprints of the calls that the latest question had answered; those that lacked time or budget may be
    repeated. To another question the same call may bring something else.
    """
    made: set[tuple[str, str]] = set()
    shown = at_turn = 0
    for step in steps:
        if isinstance(step, Asked):
            made.clear()
        elif isinstance(step, Turn):
            at_turn = shown
        elif isinstance(step, Observation):
            retry = step.failure and step.failure.kind in (FailureKind.TIME_LIMIT, FailureKind.OVER_BUDGET)
            if step.call is not None and not retry:
                made.add(toolbox.fingerprint(step.call, at_turn))
            shown += step.view is not None
    return made


def by_turn(steps: Sequence[Step]) -> list[list[Observation]]:
    """What came back, turn by turn; the glances left out."""
    found: list[list[Observation]] = []
    for step in steps:
        if isinstance(step, Turn):
            found.append([])
        elif found and isinstance(step, Observation):
            found[-1].append(step)
    return found


def all_failed(observations: Sequence[Observation], kind: FailureKind) -> bool:
    """Whether every call of a turn failed in this way."""
    return bool(observations) and all(seen.failure and seen.failure.kind is kind for seen in observations)


def any_failed(observations: Sequence[Observation], kind: FailureKind) -> bool:
    """Whether a call of a turn failed in this way."""
    return any(seen.failure and seen.failure.kind is kind for seen in observations)
