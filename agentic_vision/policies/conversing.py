"""What is a turn of a conversation to the batcher? Its new pieces, encoded; and the reply that its tokens are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ContextFullError
from ..policy import Conversation, Reply
from .decoding import Decoder, Row
from .encoding import Encoder, Piece
from .sessions import Sessions


@dataclass(frozen=True)
class Conversing:
    """What all turns share. `longest`: tokens that the model can read."""

    encoder: Encoder
    decoder: Decoder
    sessions: Sessions
    max_new_tokens: int
    temperature: float
    longest: int

    def task(
        self,
        conversation: Conversation,
        seed: int | None,
        *,
        opening: str = "",
        say: Callable[[str], None] | None = None,
    ) -> TurnTask:
        """The next turn of `conversation`, whose text begins with `opening`; `say` hears it while it is decoded."""
        return TurnTask(self, conversation, seed, opening, say)


@dataclass(eq=False)
class TurnTask:
    """The next turn of `conversation`, as a `Task` of the batcher."""

    shared: Conversing
    conversation: Conversation
    seed: int | None
    opening: str = ""
    say: Callable[[str], None] | None = None
    opening_ids: tuple[int, ...] = ()
    said: int = 0  # characters that `say` has heard
    pieces: tuple[Piece, ...] = ()
    input_tokens: int = 0

    @property
    def key(self) -> str:
        return self.conversation.id

    def row(self) -> Row:
        """Encode what is new in the conversation."""
        shared = self.shared
        session = shared.sessions.get(self.conversation.id)
        self.pieces = shared.encoder.pieces(self.conversation)
        added = session.added(self.pieces)
        chunk = shared.encoder.encode(added, session.replies)
        chunk.ids[:0] = session.pending
        if self.opening:
            self.opening_ids = tuple(shared.encoder.reply_ids(self.opening))
            chunk.ids.extend(self.opening_ids)
        self.input_tokens = session.length + len(chunk.ids)
        room = shared.longest - self.input_tokens
        if room < 1:
            session.clear()
            raise ContextFullError(
                f"the conversation is {self.input_tokens} tokens long and this checkpoint reads at most "
                f"{shared.longest}: show it fewer or smaller images"
            )
        return Row(session, chunk, min(shared.max_new_tokens, room), shared.temperature, self.seed)

    def progress(self, row: Row) -> None:
        """Let `say` hear what is new, but for a character whose bytes have not all come."""
        if self.say is None:
            return
        text = self._text(row)
        whole = len(text) if row.done else len(text.rstrip("\ufffd"))
        if whole > self.said:
            self.say(text[self.said : whole])
            self.said = whole

    def _text(self, row: Row) -> str:
        ids = row.sampled[:-1] if self.shared.decoder.stops(row.sampled[-1]) else row.sampled
        return self.opening + self.shared.encoder.decode(ids)

    def result(self, row: Row) -> Reply:
        """Note in the session what the cache holds now. The last sampled token is not in it yet."""
        shared = self.shared
        stopped = shared.decoder.stops(row.sampled[-1])
        said = row.sampled[:-1] if stopped else row.sampled
        text = self._text(row)
        session = row.session
        session.replies[text] = (*self.opening_ids, *said)
        session.pieces = (*self.pieces, Piece("reply", text))
        session.pending = [] if stopped else row.sampled[-1:]
        shared.sessions.trim()
        return Reply(
            text=text,
            input_tokens=self.input_tokens,
            output_tokens=len(row.sampled),
            truncated=not stopped,
        )
