"""What a policy holds of its conversations: of the latest alone, for not every one of them is ended by `forget`."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

MOST_CONVERSATIONS = 4096

T = TypeVar("T")


class Latest(OrderedDict[str, T]):
    """By the conversation's id, of at most `MOST_CONVERSATIONS`: those that were set last."""

    def __setitem__(self, conversation_id: str, held: T) -> None:
        super().__setitem__(conversation_id, held)
        self.move_to_end(conversation_id)
        while len(self) > MOST_CONVERSATIONS:
            self.popitem(last=False)
