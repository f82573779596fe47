"""Trajectories and groups by hand, for the rewards' tests."""

import asyncio

from agentic_vision.messages import Observation, StopReason, Trajectory, Turn, Usage
from agentic_vision.protocol import parse, write
from agentic_vision.training import Group

CALL = write(thought="Too small.", calls=[("full_res", {})])


def trajectory(answer=None, *, tool=False, replies=None, failure=None, tokens=25, stop=None):
    """One that ends with `answer`, after a call where `tool`; or whose turns are `replies`."""
    scripted = replies is None
    if replies is None:
        replies = [CALL] * tool + ([write(thought="I see it.", answer=answer)] if answer is not None else [])
    steps: list[Turn | Observation] = []
    for reply in replies:
        steps.append(parse(reply))
        if steps[-1].calls:
            steps.append(Observation(call=steps[-1].calls[0], failure=failure))
    said = next((step.answer for step in reversed(steps) if isinstance(step, Turn)), None)
    if scripted and not tool and answer is not None:
        said = answer  # also one that no turn can hold, such as the empty one
    return Trajectory(
        id="t",
        question="Which number?",
        sources=(),
        family="qwen3-vl",
        steps=tuple(steps),
        answer=said,
        stop_reason=stop or (StopReason.ANSWERED if said is not None else StopReason.MALFORMED),
        usage=Usage(visual_tokens=tokens, full_resolution_tokens=100),
    )


def group(*trajectories, reference="417", **row):
    return Group(trajectories, reference, row)


def answers(*texts, reference="417", **row):
    return group(*(trajectory(text) for text in texts), reference=reference, **row)


def acted(actions):
    """A group of `D` direct and `T` tool trajectories, capitals right, small letters wrong."""
    return group(*(trajectory("417" if a.isupper() else "418", tool=a in "Tt") for a in actions))


def score(reward, asked):
    return asyncio.run(reward.score(asked))


def totals(reward, asked):
    return score(reward, asked).totals
