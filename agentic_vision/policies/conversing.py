"""What is a turn of a conversation to the batcher? Its new pieces, encoded; and the reply that its tokens are."""

from __future__ import annotations

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

    def task(self, conversation: Conversation, seed: int | None) -> TurnTask:
        """The next turn of `conversation`."""
        return TurnTask(self, conversation, seed)


@dataclass(eq=False)
class TurnTask:
    """The next turn of `conversation`, as a `Task` of the batcher."""

    shared: Conversing
    conversation: Conversation
    seed: int | None
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
        self.input_tokens = session.length + len(chunk.ids)
        room = shared.longest - self.input_tokens
        if room < 1:
            session.clear()
            raise ContextFullError(
                f"the conversation is {self.input_tokens} tokens long and this checkpoint reads at most "
                f"{shared.longest}: show it fewer or smaller images"
            )
        return Row(session, chunk, min(shared.max_new_tokens, room), shared.temperature, self.seed)

    def result(self, row: Row) -> Reply:
        """Note in the session what the cache holds now. The last sampled token is not in it yet."""
        shared = self.shared
        stopped = shared.decoder.stops(row.sampled[-1])
        said = row.sampled[:-1] if stopped else row.sampled
        text = shared.encoder.decode(said)
        session = row.session
        session.replies[text] = tuple(said)
        session.pieces = (*self.pieces, Piece("reply", text))
        session.pending = [] if stopped else row.sampled[-1:]
        shared.sessions.trim()
        return Reply(
            text=text,
            input_tokens=self.input_tokens,
            output_tokens=len(row.sampled),
            truncated=not stopped,
        )
