"""The text protocol: what did the model mean by its reply, and how is a turn written?

    <think>The total is too small to read.</think><tool_call>{"name": "full_res", "arguments": {}}</tool_call>
    <think>I can read it.</think><answer>12.40</answer>

A turn holds either calls (one or several) or one answer; text outside the tags is ignored. A malformed turn
is data: `parse` gives it a typed `Problem`, whose message is reported back to the model. It never raises, and
takes less than a millisecond and 20 ns a byte: what would take longer to read is refused unread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from .messages import Problem, ProblemKind, ToolCall, Turn

MAX_CHARS = 200_000  # a longer reply is refused unread
MAX_TAGS = 500  # in one turn: a model that writes more has fallen into repeating itself
MAX_CALLS = 8  # in one turn
MAX_VALUES = 500  # in all calls of a turn: numbers, texts, lists and objects
MAX_DEPTH = 16  # of lists and objects in a call: JSON readers and checkpointers give up at some depth

CALL_FORM = '<tool_call>{"name": "...", "arguments": {...}}</tool_call>'
ANSWER_FORM = "<answer>...</answer>"
_FORMS = f"Write either {CALL_FORM} or {ANSWER_FORM}."

TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")
_Tag: TypeAlias = tuple[int, int, bool, str]  # where it begins and ends, whether it closes, its name


class _MalformedError(Exception):
    def __init__(self, kind: ProblemKind, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind=kind, message=message)


def parse(text: str, *, first_call: int = 1, truncated: bool = False) -> Turn:
    """The turn that `text` is. Calls get the ids `call_N` from N = `first_call` on.

    `truncated` says that a length limit cut the text: what is then missing is reported as `TOO_LONG`.
    """
    if len(text) > MAX_CHARS:
        return _unread(text[:MAX_CHARS], f"{len(text)} characters; at most {MAX_CHARS} are read")
    tags = _tags(text)
    if len(tags) > MAX_TAGS:
        return _unread(text, f"more than {MAX_TAGS} tags")
    thought, bodies, answers, open_tag = _scan(text, tags)
    try:
        calls = _actions(bodies, answers, open_tag, first_call)
    except _MalformedError as malformed:
        problem = malformed.problem
        if truncated and (open_tag or problem.kind is ProblemKind.NO_ACTION):
            message = f"Your reply was cut off at the length limit. Think less. {_FORMS}"
            problem = Problem(kind=ProblemKind.TOO_LONG, message=message)
        return Turn(text=text, thought=thought, problem=problem)
    return Turn(text=text, thought=thought, calls=calls, answer=None if calls else answers[0].strip())


def untagged(text: str) -> str:
    """`text` without the protocol's tags. A space is left for each: what was around it must not become a tag."""
    for tag in TAGS:
        text = text.replace(tag, " ")
    return text


def write(
    *,
    thought: str | None = None,
    calls: Sequence[tuple[str, Mapping[str, Any]]] = (),
    answer: str | None = None,
) -> str:
    """The text of a turn: `parse` of it gives the same thought, calls (name, arguments) and answer.

    Space around the thought and the answer is not kept. Either may name tags, but not its own closing one.
    """
    parts = [f"<think>{thought}</think>"] if thought is not None else []
    for name, arguments in calls:
        body = json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)
        for tag in TAGS:  # in JSON a "<" stands in strings alone, which may write it so
            body = body.replace(tag, f"\\u003c{tag[1:]}")
        parts.append(f"<tool_call>{body}</tool_call>")
    if answer is not None:
        parts.append(f"<answer>{answer}</answer>")
    return "".join(parts)


def _scan(text: str, tags: Sequence[_Tag]) -> tuple[str | None, list[str], list[str], str]:
    """Thought, bodies of the calls, answers, and the tag that was never closed ("" for none)."""
    thoughts: list[str] = []
    found: dict[str, list[str]] = {"tool_call": [], "answer": []}
    inside, start = "", 0
    first, last_close = text.find("</think>"), text.rfind("</think>")
    if first >= 0 and text.find("<think>", 0, first) < 0:
        inside = "think"  # some chat templates write the <think>: the reply starts inside it
    for begin, end, closing, name in tags:
        if not inside:
            # A <think> that is never closed is not entered: the call or the answer behind it still counts.
            if not closing and (name != "think" or begin < last_close):
                inside, start = name, end
        elif closing and name == inside:
            (thoughts if name == "think" else found[name]).append(text[start:begin])
            inside = ""
    thought = "\n".join(part.strip() for part in thoughts if part.strip()) or None
    return thought, found["tool_call"], found["answer"], inside


def _tags(text: str) -> list[_Tag]:
    """The tags in order, and no more of them than tell that there are too many."""
    found: list[_Tag] = []
    for tag in TAGS:  # one search each, at the speed of memory: a pattern for all of them stops at every "<"
        closing, name = tag.startswith("</"), tag.strip("</>")
        places = islice(_places(text, tag), MAX_TAGS + 1 - len(found))
        found += [(begin, begin + len(tag), closing, name) for begin in places]
    return sorted(found)


def _places(text: str, tag: str) -> Iterator[int]:
    place = text.find(tag)
    while place >= 0:
        yield place
        place = text.find(tag, place + len(tag))


def _unread(text: str, why: str) -> Turn:
    problem = Problem(kind=ProblemKind.TOO_LONG, message=f"Your reply has {why}. {_FORMS}")
    return Turn(text=text, problem=problem)


def _actions(bodies: list[str], answers: list[str], open_tag: str, first_call: int) -> tuple[ToolCall, ...]:
    """The calls, or none where there is one answer; raises `_MalformedError` for all else."""
    if open_tag == "tool_call":
        raise _MalformedError(ProblemKind.UNCLOSED_CALL, f"A <tool_call> has no </tool_call>. {_FORMS}")
    if open_tag == "answer":
        raise _MalformedError(ProblemKind.UNCLOSED_ANSWER, f"An <answer> has no </answer>. {_FORMS}")
    if bodies and answers:
        raise _MalformedError(
            ProblemKind.CALL_AND_ANSWER,
            "A turn holds tool calls or an answer, not both: the calls were not made. "
            f"Write {CALL_FORM} alone to look first, or {ANSWER_FORM} alone.",
        )
    if len(bodies) > MAX_CALLS:
        raise _MalformedError(ProblemKind.TOO_LONG, f"At most {MAX_CALLS} <tool_call>s may be in a turn.")
    # At least as many as there are; commas in texts count too, which no call of a visual tool has so many of.
    if sum(body.count(mark) for body in bodies for mark in ",[{") > MAX_VALUES:
        raise _MalformedError(
            ProblemKind.BAD_JSON, f"The tool calls hold more than {MAX_VALUES} values. Write {CALL_FORM}."
        )
    if bodies:
        return tuple(_call(body, f"call_{number}") for number, body in enumerate(bodies, first_call))
    if not answers:
        raise _MalformedError(ProblemKind.NO_ACTION, f"There was neither a tool call nor an answer. {_FORMS}")
    if len(answers) > 1 or "<answer>" in answers[0]:
        raise _MalformedError(ProblemKind.TWO_ANSWERS, f"There were two answers. Write one {ANSWER_FORM}.")
    if not answers[0].strip():
        raise _MalformedError(ProblemKind.EMPTY_ANSWER, f"The answer was empty. Write {ANSWER_FORM}.")
    return ()


def _call(body: str, call_id: str) -> ToolCall:
    try:
        value = json.loads(body, parse_constant=_not_json, parse_float=_finite, parse_int=_storable)
        if "\\u" in body or not body.isascii():
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair cannot be stored
        if _nested(value, MAX_DEPTH):
            raise ValueError("it is nested too deeply")
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", None) or str(error)[:100]
        raise _MalformedError(
            ProblemKind.BAD_JSON, f"The tool call is not valid JSON ({why}). Write {CALL_FORM}."
        ) from None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _MalformedError(ProblemKind.BAD_CALL, f"The tool call has no name. Write {CALL_FORM}.")
    arguments = value.get("arguments", {})
    if not isinstance(arguments, dict) or value.keys() - {"name", "arguments"}:
        raise _MalformedError(
            ProblemKind.BAD_CALL,
            f'A tool call has "name" and "arguments", a JSON object, and nothing else. Write {CALL_FORM}.',
        )
    return ToolCall(id=call_id, name=value["name"], arguments=arguments)


def _storable(number: str) -> int:
    if len(number) > 20 or not -(2**63) <= (value := int(number)) < 2**63:
        raise ValueError(f"{number[:20]} is too large")
    return value


def _nested(value: Any, levels: int) -> bool:
    """Whether lists and objects lie more than `levels` deep in `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_nested(item, levels - 1) for item in inner)


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large")
    return value
