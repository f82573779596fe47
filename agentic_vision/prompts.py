"""What the model reads: the conversation as messages, built from the steps of a trajectory.

Built anew at every turn and always the same for the same steps, so that messages are only ever appended and a
policy can keep its cache. `PromptStyle.COMPACT` says as little as a small checkpoint was trained on; `TEXT`
explains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from .messages import Asked, Observation, Problem, ProblemKind, Step, Turn
from .policy import ImagePart, Message, PromptStyle, TextPart, ToolSpec
from .protocol import ANSWER_FORM, CALL_FORM
from .source import Source

LAST_TURN = "This is your last turn: answer now with what you have seen."
NOW = "Tools can no longer be called. Answer the question with what you have seen, as short as it allows"


def messages(
    question: str,
    sources: Sequence[Source],
    steps: Iterable[Step],
    *,
    system: str,
    style: PromptStyle,
    max_turns: int,
) -> tuple[Message, ...]:
    """All messages so far, after the `system` prompt where there is one."""
    steps = tuple(steps)
    glances = [step for step in _before_first_turn(steps) if step.view is not None]
    said = [Message(role="system", parts=(TextPart(text=system),))] if system else []
    images = [_image(glance, sources) for glance in glances]
    said.append(Message(role="user", parts=(*images, TextPart(text=question))))
    turns = 0
    for step in steps[len(glances) :]:
        if isinstance(step, Turn):
            _tell_of_last_turn(said, style, last=turns == max_turns - 1)
            turns += 1
            said.append(Message(role="assistant", parts=(TextPart(text=step.text),)))
        elif isinstance(step, Asked):
            turns = 0
            said.append(Message(role="user", parts=(TextPart(text=step.question),)))
        else:
            said.append(Message(role="tool", parts=_observed(step, sources, style)))
    _tell_of_last_turn(said, style, last=turns == max_turns - 1)
    return tuple(said)


def _tell_of_last_turn(said: list[Message], style: PromptStyle, *, last: bool) -> None:
    """With the last observation before it, where it stays: what was said once is never said otherwise."""
    if last and style is not PromptStyle.COMPACT and said[-1].role == "tool":
        said[-1] = Message(role="tool", parts=(*said[-1].parts, TextPart(text=f"\n{LAST_TURN}")))


def system_text(tools: Sequence[ToolSpec], style: PromptStyle, *, reduced: bool) -> str:
    """The system prompt; empty for none. `reduced`: images are first shown below their full resolution."""
    if style is PromptStyle.COMPACT:
        return f"Tools: {', '.join(tool.name for tool in tools)}." if tools else ""
    shown = " They are first shown at a reduced resolution, to save time." if reduced else ""
    intro = f"You answer a question about one or several images.{shown}"
    if style is PromptStyle.NATIVE:
        look = " Where you can answer from what you see, answer at once; where a detail is missing, look closer with a "
        numbered = "function.\nImages are numbered from 1, in the order in which they are shown."
        return f"{intro}{f'{look}{numbered}' if tools else ''}\nGive the answer alone, as short as the question allows."
    think = "Think first, inside <think>...</think>."
    answer = f"Give the answer alone, as short as the question allows: {ANSWER_FORM}"
    if not tools:
        return f"{intro}\n{think} {answer}"
    listed = "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.schema}) for tool in tools
    )
    return (
        f"{intro} Where you can answer from what you see, answer at once; where a detail is missing, look "
        f"closer with a tool.\n\nTools:\n{listed}\n\n{think} Then, in the same turn, do one of two things.\n"
        f"Call a tool: {CALL_FORM}\n{answer}\n"
        "Images are numbered from 1, in the order in which they are shown."
    )


def reported(problem: Problem, style: PromptStyle) -> str:
    """What the model is told of its malformed turn."""
    if style is not PromptStyle.NATIVE:
        return problem.message
    if problem.kind in (ProblemKind.BAD_JSON, ProblemKind.BAD_CALL):
        return "The arguments of that call are not a valid JSON object. Call the function again, or answer."
    return "That was neither a call nor an answer. Call a function, or give the answer alone."


def _before_first_turn(steps: Sequence[Step]) -> list[Observation]:
    glances: list[Observation] = []
    for step in steps:
        if not isinstance(step, Observation):
            break
        glances.append(step)
    return glances


def _observed(step: Observation, sources: Sequence[Source], style: PromptStyle) -> tuple[TextPart | ImagePart, ...]:
    if step.view is None:
        return (TextPart(text=step.failure.message if step.failure else step.text or ""),)
    image = _image(step, sources)
    if style is PromptStyle.COMPACT:
        return (image,)
    width, height = step.view.size
    by = f", from {step.call.name}" if step.call else ""
    return TextPart(text=f"Image {step.image}{by}, {width} x {height} pixels:\n"), image


def _image(step: Observation, sources: Sequence[Source]) -> ImagePart:
    assert step.view is not None
    return ImagePart(view=step.view, source=sources[step.view.source])
