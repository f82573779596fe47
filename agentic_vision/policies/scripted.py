"""A policy that says what it is told to: for tests, baselines, and to try a tool without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import ConfigError
from ..policy import Conversation, PromptStyle, Reply
from ..visual_tokens import Family, family

Script = Callable[[Conversation], str | Reply]


class ScriptedPolicy:
    """Replies from a list, the same list for every conversation, its last reply repeated; or from a function.

        ScriptedPolicy(['<tool_call>{"name": "full_res"}</tool_call>', "<answer>12.40</answer>"])

    `conversations` keeps what it was last shown under each id until `forget`. Raises `ConfigError` for an empty list.
    """

    def __init__(
        self,
        replies: Sequence[str | Reply] | Script,
        *,
        family: Family | str = "qwen3-vl",
        style: PromptStyle = PromptStyle.TEXT,
    ) -> None:
        self.family = _family(family)
        self.style = style
        self.conversations: dict[str, Conversation] = {}
        if not callable(replies) and not replies:
            raise ConfigError("the script is empty: give ScriptedPolicy one reply or more, or a function")
        self._script = replies if callable(replies) else _in_order(replies)

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        """The next reply of the script, which knows no chance."""
        self.conversations[conversation.id] = conversation
        reply = self._script(conversation)
        return Reply(text=reply) if isinstance(reply, str) else reply

    def forget(self, conversation_id: str) -> None:
        """Drop what was kept of the conversation."""
        self.conversations.pop(conversation_id, None)


def _in_order(replies: Sequence[str | Reply]) -> Script:
    def script(conversation: Conversation) -> str | Reply:
        said = sum(message.role == "assistant" for message in conversation.messages)
        return replies[min(said, len(replies) - 1)]

    return script


def _family(given: Family | str) -> Family:
    return family(given) if isinstance(given, str) else given
