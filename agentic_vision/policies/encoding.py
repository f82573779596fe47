"""How does a conversation become token ids and pixels?

The chat template is rendered with a mark in the place of every text, so that what people (and models) wrote
never passes through it: template text may hold special tokens, user text never becomes one. The rendering is
then cut into pieces. What a conversation adds from one turn to the next is the pieces it adds, and only those
are tokenised and drawn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from ..errors import PolicyError
from ..policy import Conversation, ImagePart, Message, TextPart
from ..protocol import TAGS

if TYPE_CHECKING:
    import torch

# Private-use characters around a number. No collision is possible: the template renders nothing but marks and
# its own text.
_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000(\\d+)\ue001")


# Whether special tokens are split is state of the tokenizer, and it fails where two threads use it at once: policies on
# the same weights take turns. A copy for each would take seconds and the memory of its vocabulary.
_turns: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()
_making = Lock()


@dataclass(frozen=True)
class Piece:
    """A stretch of a rendered conversation: the template's own text, a text, a model's reply, or an image.

    Equal pieces encode alike. An image's `text` is its identity: the digest of its source and the view's
    recipe.
    """

    kind: Literal["template", "text", "reply", "image"]
    text: str
    image: ImagePart | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Chunk:
    """Encoded pieces. `images`: pixels (patches x values) and grids (images x 3: time, height, width in
    patches).
    """

    ids: list[int]
    images: tuple[torch.Tensor, torch.Tensor] | None


class Encoder:
    """Renders, tokenises and draws, for one checkpoint. Encoders of several threads may share a tokenizer."""

    def __init__(self, tokenizer: Any, image_processor: Any, vision_ids: Collection[int], image_id: int) -> None:
        """`vision_ids`: those of image, video, start and end; `image_id`: the image placeholder's."""
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._vision_ids = frozenset(vision_ids)
        self._image_id = image_id
        self._image_token: str = tokenizer.convert_ids_to_tokens(image_id)
        # Templates that do not know the role would print its name to a model that never saw it.
        self._knows_tools = re.search(r"""['"]tool['"]""", tokenizer.chat_template) is not None

    @property
    def vision_ids(self) -> frozenset[int]:
        """The ids that only an image may have: never to be sampled."""
        return self._vision_ids

    @property
    def image_id(self) -> int:
        """The image placeholder's id: an image is a run of them."""
        return self._image_id

    @cached_property
    def ending_ids(self) -> frozenset[int]:
        """The special ids that are no image's: what may end a reply."""
        return frozenset(self._tokenizer.all_special_ids) - self._vision_ids

    @cached_property
    def _forging_ids(self) -> frozenset[int]:
        """The special ids that are none of the protocol's tags."""
        special = frozenset(self._tokenizer.all_special_ids) | self._vision_ids
        return special - {self._tokenizer.convert_tokens_to_ids(tag) for tag in TAGS}

    def pieces(self, conversation: Conversation, *, open_turn: bool = True) -> tuple[Piece, ...]:
        """The conversation as the checkpoint's chat template renders it, up to where the next reply begins.

        `open_turn=False` leaves out the template's opening of that reply.
        """
        texts: list[Piece] = []
        images = [_image(part) for part in conversation.images]
        messages = [self._marked(message, texts) for message in conversation.messages]
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=open_turn
            )
        except Exception as error:  # jinja2's errors, and whatever a template raises on purpose
            raise PolicyError(f"the checkpoint's chat template cannot render this conversation: {error}") from error
        pieces: list[Piece] = []
        shown = iter(images)
        seen: list[int] = []
        for index, part in enumerate(_MARKS.split(rendered)):
            if index % 2:
                seen.append(int(part))
                pieces.append(texts[seen[-1]])
                continue
            for place, text in enumerate(part.split(self._image_token)):
                if place:
                    pieces.append(next(shown, Piece("image", "none")))
                if text:
                    pieces.append(Piece("template", text))
        drawn = sum(piece.kind == "image" for piece in pieces)
        if seen != list(range(len(texts))) or drawn != len(images):
            raise PolicyError(
                f"the checkpoint's chat template renders {len(seen)} of {len(texts)} texts and {drawn} of "
                f"{len(images)} images: it must render every message once, in order, and every image"
            )
        return tuple(pieces)

    def encode(self, pieces: Iterable[Piece], replies: Mapping[str, Sequence[int]]) -> Chunk:
        """Ids and pixels of `pieces`; `replies` gives the ids that were sampled for a reply's text, which are
        kept as they are.

        Raises `ImageError` where an image cannot be drawn.
        """
        pieces = tuple(pieces)
        images = self._images([piece.image for piece in pieces if piece.image is not None])
        merged = self._image_processor.merge_size**2  # patches to a token
        lengths = [] if images is None else (images[1].prod(-1) // merged).tolist()
        return Chunk(self.token_ids(pieces, lengths, replies), images)

    def token_ids(
        self, pieces: Iterable[Piece], image_tokens: Iterable[int], replies: Mapping[str, Sequence[int]]
    ) -> list[int]:
        """Ids of `pieces`, in which the images take `image_tokens` each; `replies` as for `encode`."""
        lengths = iter(image_tokens)
        ids: list[int] = []
        for piece in pieces:
            match piece.kind:
                case "template":
                    ids += self._ids(piece.text, special=True)
                case "text":
                    ids += self._ids(piece.text, special=False)
                case "reply":
                    ids += replies[piece.text] if piece.text in replies else self.reply_ids(piece.text)
                case "image":
                    ids += [self._image_id] * next(lengths)
        return ids

    @cached_property
    def turn_end_ids(self) -> tuple[int, ...]:
        """The ids that the template puts behind a reply."""
        said = (
            Message(role="user", parts=(TextPart(text=""),)),
            Message(role="assistant", parts=(TextPart(text=""),)),
        )
        last = self.pieces(Conversation(id="", messages=said), open_turn=False)[-1]
        return tuple(self._ids(last.text, special=True)) if last.kind == "template" else ()

    def turn_end_id(self) -> int | None:
        """The id with which the template closes a reply; None where it closes it with ordinary text."""
        return self.turn_end_ids[0] if self.turn_end_ids and self.turn_end_ids[0] in self.ending_ids else None

    def decode(self, ids: Sequence[int]) -> str:
        """The raw text of a reply: special tokens that the model chose to write are part of it."""
        with _turn(self._tokenizer):
            return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _marked(self, message: Message, texts: list[Piece]) -> dict[str, Any]:
        """The message with marks for its texts, which are appended to `texts`."""
        if message.role == "assistant":
            return {"role": "assistant", "content": _mark(Piece("reply", message.text), texts)}
        role = "user" if message.role == "tool" and not self._knows_tools else message.role
        if not message.images:  # the form that every template understands
            return {"role": role, "content": _mark(Piece("text", message.text), texts)}
        content: list[dict[str, str]] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": _mark(Piece("text", part.text), texts)})
            else:
                content.append({"type": "image"})
        return {"role": role, "content": content}

    def _images(self, parts: Sequence[ImagePart]) -> tuple[torch.Tensor, torch.Tensor] | None:
        if not parts:
            return None
        drawn = [part.render() for part in parts]
        try:
            features = self._image_processor(images=drawn, return_tensors="pt")
        except ValueError as error:
            raise PolicyError(f"the checkpoint's image processor does not take this image: {error}") from error
        return features["pixel_values"], features["image_grid_thw"]

    def _ids(self, text: str, *, special: bool) -> list[int]:
        with _turn(self._tokenizer):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special)
        return ids

    def reply_ids(self, text: str) -> list[int]:
        """A reply that was not sampled here may hold the protocol's own special tokens, but none that ends a turn,
        begins another or stands for an image: those it can only have spelled out.
        """
        ids = self._ids(text, special=True)
        return self._ids(text, special=False) if self._forging_ids.intersection(ids) else ids


def encoder_for(tokenizer: Any, image_processor: Any, config: Any) -> Encoder:
    """The encoder of a checkpoint with this `config` (a transformers configuration)."""
    added: dict[str, int] = tokenizer.get_added_vocab()
    vision_ids = {number for token, number in added.items() if re.match(r"<\|(vision|image|video)_", token)}
    vision_ids |= {config.image_token_id, config.video_token_id}
    return Encoder(tokenizer, image_processor, vision_ids, config.image_token_id)


def _turn(tokenizer: Any) -> Lock:
    with _making:
        return _turns.setdefault(tokenizer, Lock())


def _mark(piece: Piece, texts: list[Piece]) -> str:
    texts.append(piece)
    return _MARK.format(len(texts) - 1)


def _image(part: ImagePart) -> Piece:
    return Piece("image", f"{part.source.digest} {part.view.model_dump_json()}", part)
