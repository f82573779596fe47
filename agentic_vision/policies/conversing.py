"""What is a turn of a conversation to the batcher? Its new pieces, encoded; and the reply that its tokens are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ContextFullError
from ..policy import Conversation, Reply
from .decoding import Decoder, DecoderRow
from .encoding import Encoder, Piece
from .sessions import Sessions


@dataclass(frozen=True)
class TurnTasks:
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

    shared: TurnTasks
    conversation: Conversation
    seed: int | None
    opening: str = ""
    say: Callable[[str], None] | None = None
    opening_ids: tuple[int, ...] = ()
    decoded: int = 0  # tokens whose text `say` has heard
    heard: int = 0  # characters that it has heard of what follows them
    pieces: tuple[Piece, ...] = ()
    input_tokens: int = 0
    cached_tokens: int = 0
    before_reply: tuple[int, int] | None = None  # as in the session

    @property
    def key(self) -> str:
        return self.conversation.id

    def row(self) -> DecoderRow:
        """Encode what is new in the conversation."""
        shared = self.shared
        session = shared.sessions.get(self.conversation.id)
        self.pieces = shared.encoder.pieces(self.conversation)
        added = session.added(self.pieces)
        chunk = shared.encoder.encode(added, session.replies)
        chunk.ids[:0] = session.pending
        self.before_reply = session.length + len(chunk.ids) - 1, chunk.ids[-1]
        if self.opening:
            self.opening_ids = tuple(shared.encoder.reply_ids(self.opening))
            chunk.ids.extend(self.opening_ids)
        self.cached_tokens = session.length
        self.input_tokens = session.length + len(chunk.ids)
        room = shared.longest - self.input_tokens
        if room < 1:
            session.clear()
            raise ContextFullError(
                f"the conversation is {self.input_tokens} tokens long and this checkpoint reads at most "
                f"{shared.longest}: show it fewer or smaller images"
            )
        return DecoderRow(session, chunk, min(shared.max_new_tokens, room), shared.temperature, self.seed)

    def progress(self, row: DecoderRow) -> None:
        """Let `say` hear what is new, but for a character whose bytes have not all come."""
        if self.say is None:
            return
        # Only the tokens behind the last whole character are decoded: all of them each time would be quadratic.
        ids = self._without_end(row.sampled[self.decoded :])
        text = (self.opening if not self.decoded else "") + self.shared.encoder.decode(ids)
        whole = len(text) if row.done else len(text.rstrip("\ufffd"))
        if whole > self.heard:
            self.say(text[self.heard : whole])
            self.heard = whole
        if whole == len(text) and ids:
            self.decoded, self.heard = self.decoded + len(ids), 0

    def _text(self, row: DecoderRow) -> str:
        return self.opening + self.shared.encoder.decode(self._without_end(row.sampled))

    def _without_end(self, ids: list[int]) -> list[int]:
        return ids[:-1] if self.shared.decoder.stops(ids[-1]) else ids

    def result(self, row: DecoderRow) -> Reply:
        """Note in the session what the cache holds now. The last sampled token is not in it yet."""
        shared = self.shared
        stopped = shared.decoder.stops(row.sampled[-1])
        reply_ids = row.sampled[:-1] if stopped else row.sampled
        text = self._text(row)
        session = row.session
        session.replies[text] = (*self.opening_ids, *reply_ids)
        session.pieces = (*self.pieces, Piece("reply", text))
        session.pending = [] if stopped else row.sampled[-1:]
        session.before_reply = self.before_reply
        shared.sessions.trim()
        return Reply(
            text=text,
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=len(row.sampled),
            truncated=not stopped,
        )
