"""Text that can be stored and sent: half of a surrogate pair, which some decoders let through, is no character.

A model's tokens, JSON escapes, file names and clients bring such halves. UTF-8 has none, so that whoever writes them
fails. What comes in two halves, one after the other, is the character that it was.
"""

from __future__ import annotations


def whole(text: str) -> str:
    """`text` with its pairs joined, and the replacement character for a half."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class WholePieces:
    """Text in pieces, none of which is to end between two halves."""

    def __init__(self) -> None:
        self._held = ""

    def __call__(self, piece: str) -> str:
        """What can be handed out now; it may be empty."""
        text = self._held + piece
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole(text[: len(text) - len(self._held)])
