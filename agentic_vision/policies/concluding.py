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
    """The reply to that, as an answer where it is not a call: nothing else was asked for."""
    turn = parse(reply.text)
    if turn.answer is not None or turn.calls or not reply.text.strip():
        return reply
    bare = reply.text.rpartition("</think>")[2].replace("<answer>", "").replace("</answer>", "").strip()
    return reply.model_copy(update={"text": write(thought=turn.thought, answer=bare), "truncated": False})
