"""Does the endpoint count visual tokens as we do? Its usage is compared with ours, and a difference is told once.

Endpoints that report image tokens are compared exactly. Most report one number for the prompt, text and images
together: then what is not ours must be its text, of which only bounds are known without the model's tokenizer. A
difference is told where no such text could explain it.
"""

from __future__ import annotations

import json
import warnings

from ..policy import Conversation, Reply
from ..profiles import Profile

TOLERANCE = 0.02
FEWEST = 1 / 12  # text tokens a byte: long words and spaces of large vocabularies
MOST = 1.0  # byte by byte
FRAME = 64  # tokens a message and tool that templates add at most, beside their fixed preamble
PREAMBLE = 1024


def count(usage: object, field: str) -> int:
    """A number of the endpoint's usage, or of its details; 0 where it does not tell."""
    return getattr(usage, field, None) or 0


class ReportedUsage:
    """Compares, for one policy, until it has told of a difference."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._told = False

    def compare(self, conversation: Conversation, reply: Reply) -> None:
        """Warns, once, where the endpoint's visual tokens are more than 2 % from ours."""
        if self._told or not reply.input_tokens:
            return
        ours = sum(self._profile.family.tokens(image.view.size) for image in conversation.images)
        if reply.image_tokens is not None:
            low = high = reply.image_tokens
        else:
            low, high = _bounds(conversation, reply.input_tokens, native=self._profile.calls == "native")
        if low * (1 - TOLERANCE) <= ours <= high * (1 + TOLERANCE):
            return
        self._told = True
        theirs = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        warnings.warn(
            f"the endpoint charges {theirs} visual tokens where the profile {self._profile.name!r} counts {ours:,}: "
            "give the model's family, profile={'family': ...}, or what is said of tokens saved is wrong",
            stacklevel=2,
        )


def _bounds(conversation: Conversation, prompt: int, *, native: bool) -> tuple[int, int]:
    """The fewest and the most of `prompt` tokens that can be the images'."""
    texts = [message.text for message in conversation.messages]
    if native:  # else they stand in the system prompt
        texts += [json.dumps([tool.name, tool.description, tool.schema]) for tool in conversation.tools]
    size = sum(len(text.encode()) for text in texts)
    most = int(size * MOST) + FRAME * (len(texts) + len(conversation.images)) + PREAMBLE
    return max(prompt - most, 0), max(prompt - int(size * FEWEST), 0)
