"""The last turn of a model behind an API: it is told to answer, and what it then says without tags is the answer."""

from __future__ import annotations

from ..policy import Conversation, Message, Reply, TextPart
from ..prompts import NOW
from ..protocol import ANSWER_FORM, parse, write


def told_to_answer(conversation: Conversation, *, native: bool) -> Conversation:
    """The conversation with the demand for an answer at its end."""
    now = f"{NOW}." if native else f"{NOW}: {ANSWER_FORM}"
    told = Message(role="user", parts=(TextPart(text=now),))
    return conversation.model_copy(update={"messages": (*conversation.messages, told)})


def concluded(reply: Reply) -> Reply:
    """The reply to that, as an answer where it is not a call: nothing else was asked for.

    Unchanged where it says nothing: a call that cannot be read and a thought that was cut off are no answers.
    """
    turn = parse(reply.text)
    bare = "" if turn.answer is not None or turn.calls else _said(reply.text)
    if not bare:
        return reply
    return reply.model_copy(update={"text": write(thought=turn.thought, answer=bare), "truncated": False})


def _said(text: str) -> str:
    """The last answer in `text`, closed or not; without one, what stands outside of thoughts and calls."""
    first, *calls = text.rpartition("</think>")[2].split("<tool_call>")
    rest = first + "".join(call.partition("</tool_call>")[2] for call in calls)
    _, opened, answer = rest.rpartition("<answer>")
    said = answer.partition("</answer>")[0] if opened else rest.partition("<think>")[0].replace("</answer>", "")
    return said.strip()
