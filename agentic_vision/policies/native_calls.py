"""How is a reply with function calls written in the text protocol, and read from it again?

The agent keeps what the model said as one text. A native reply is written as `<think>reasoning</think>`, what it said
beside its calls, and a `<tool_call>` for each; without calls, what it said is the answer. From the text the parts come
back as they were, so that every request repeats the history alike. What is malformed stays in the text for the agent to
report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..messages import ToolCall
from ..protocol import MAX_CHARS, parse, untagged

_CALL, _CALL_END = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class NativeReply:
    """What a model said in its own way. `calls`: name and arguments (JSON, as it was written) of each."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """It in the text protocol."""
        content, reasoning = self.content.strip(), self.reasoning.strip()
        if len(content) + len(reasoning) > MAX_CHARS:
            return f"{reasoning}{content}"  # refused unread, whatever it holds
        head = f"<think>{untagged(reasoning)}</think>" if reasoning else ""
        if self.calls:
            return head + untagged(content) + "".join(_call(name, given) for name, given in self.calls)
        if "<tool_call>" in content or "<answer>" in content:
            return head + content  # a model that speaks the protocol all the same
        thought, closed, rest = content.rpartition("</think>")
        if closed:  # servers without a reasoning parser leave it in the content
            head, content = head or f"<think>{untagged(thought).strip()}</think>", rest.strip()
        return f"{head}<answer>{untagged(content)}</answer>" if content else head


def from_text(text: str) -> tuple[NativeReply, tuple[ToolCall, ...]]:
    """What was said natively, and its calls as the agent read them: none for an answer and for what is malformed."""
    turn = parse(text)
    thought, closed, rest = text.removeprefix("<think>").partition("</think>")
    if not closed or not text.startswith("<think>"):
        thought, rest = "", text
    if turn.calls:
        calls = tuple((call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in turn.calls)
        return NativeReply(_beside_calls(rest), thought, calls), turn.calls
    said = turn.answer if turn.answer is not None else rest
    return NativeReply(said, thought), ()


def _beside_calls(text: str) -> str:
    kept, at = [], 0
    while (opened := text.find(_CALL, at)) >= 0 and (closed := text.find(_CALL_END, opened)) >= 0:
        kept.append(text[at:opened])
        at = closed + len(_CALL_END)
    return "".join((*kept, text[at:]))


def _call(name: str, arguments: str) -> str:
    given: Any = arguments.strip() or "{}"
    # Arguments that are no JSON make the call no JSON, which is what the agent then reports to the model.
    body = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {given}}}'
    # Only texts hold a "<", and escaped they say the same: no tag in them ends the call.
    return "<tool_call>" + body.replace("<", r"\u003c") + "</tool_call>"
