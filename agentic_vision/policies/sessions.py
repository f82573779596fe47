"""What is kept of a conversation between two of its turns, and for how long?

A `Session` remembers which pieces are already in the KV cache. The caches of all conversations together are
bounded in bytes: the ones that rested longest go first, and their conversations are encoded anew when they go
on. The sampled ids of replies are small and stay, so that even then history is what the model wrote, never a
second tokenisation of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from .encoding import Piece
from .latest import MOST_CONVERSATIONS

if TYPE_CHECKING:
    import torch


@dataclass
class Session:
    """One conversation: what its cache holds.

    `keys_values`: a pair for every layer, each 1 x heads x columns x head size; `length`: the tokens that were run
    through the model, also those whose columns a pruning policy dropped; `next_position`: the rotary position of
    the next token; `pending`: ids that were sampled, but not yet run through the model; `replies`: a reply's text
    -> its ids. `before_reply`: the tokens that were run before the last one of the prompt of the last reply, and that
    last one's id.
    """

    pieces: tuple[Piece, ...] = ()
    keys_values: list[tuple[torch.Tensor, torch.Tensor]] | None = None
    length: int = 0
    next_position: int = 0
    pending: list[int] = field(default_factory=list)
    replies: dict[str, tuple[int, ...]] = field(default_factory=dict)
    before_reply: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes of the cache."""
        return sum(tensor.nbytes for pair in self.keys_values or () for tensor in pair)

    def added(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """What `pieces` add to the ones in the cache. A last reply that they do not hold is taken out of it; where
        they do not go on from there either, the session starts anew: all of them.
        """
        if self.keys_values and tuple(pieces[: len(self.pieces)]) != self.pieces:
            self._without_reply()
        known = len(self.pieces)
        if self.keys_values and tuple(pieces[:known]) == self.pieces:
            return tuple(pieces[known:])
        self.clear()
        return tuple(pieces)

    def _without_reply(self) -> None:
        """Go back to where the last reply began, and one token more, which is pending then: there is always one to
        go on from. Nothing happens where visual tokens were dropped, for columns are no tokens then.
        """
        layers, start = self.keys_values or [], self.before_reply
        if start is None or any(keys.shape[2] != self.length for keys, _ in layers):
            return
        length, last = start
        # What is cut off is text, of which every token takes one position.
        self.next_position -= self.length - length
        self.keys_values = [(keys[:, :, :length], values[:, :, :length]) for keys, values in layers]
        self.pieces, self.length, self.pending, self.before_reply = self.pieces[:-1], length, [last], None

    def clear(self) -> None:
        """Forget everything but the ids of the replies."""
        self.pieces, self.keys_values, self.length, self.next_position, self.pending = (), None, 0, 0, []
        self.before_reply = None


class Sessions:
    """The sessions of all conversations, least recently used first. `most_bytes` bounds what their caches
    take together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()  # `forget` is called from other threads than the one that decodes

    def get(self, conversation_id: str) -> Session:
        """The session of a conversation, made if need be; from now on the most recently used."""
        with self._lock:
            session = self._sessions.setdefault(conversation_id, Session())
            self._sessions.move_to_end(conversation_id)
            while len(self._sessions) > MOST_CONVERSATIONS:
                self._sessions.popitem(last=False)
            return session

    def trim(self) -> None:
        """Drop the oldest caches until the rest fits."""
        with self._lock:
            excess = sum(session.size for session in self._sessions.values()) - self._most_bytes
            for session in self._sessions.values():
                if excess <= 0:
                    return
                if session.keys_values:  # one without may just be decoding: it is not at rest
                    excess -= session.size
                    session.clear()

    def forget(self, conversation_id: str) -> None:
        """Drop all of a conversation. One that is just being decoded is freed when that ends."""
        with self._lock:
            self._sessions.pop(conversation_id, None)

    def __len__(self) -> int:
        return len(self._sessions)
