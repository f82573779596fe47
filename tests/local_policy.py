"""Asking tiny random checkpoints, and watching what goes through the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import Conversation, ImagePart, Message, Reply, TextPart
from agentic_vision.source import Source
from agentic_vision.view import Box, View

SOURCE = Source.open(Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)))
GLANCE = View.whole(SOURCE.size, (112, 84))
CROP = View.whole(SOURCE.size).crop(Box(x0=40, y0=40, x1=180, y1=150))


def user(text: str, *views: View) -> Message:
    return Message(role="user", parts=(*(ImagePart(view=v, source=SOURCE) for v in views), TextPart(text=text)))


def seen(view: View) -> Message:
    return Message(role="tool", parts=(ImagePart(view=view, source=SOURCE),))


def said(reply: Reply) -> Message:
    return Message(role="assistant", parts=(TextPart(text=reply.text),))


def anew(reply: Reply) -> Reply:
    """The reply as it is where nothing was read from a cache."""
    return reply.model_copy(update={"cached_tokens": 0})


def ask(policy: TransformersPolicy, name: str, *messages: Message, seed: int | None = None) -> Reply:
    return asyncio.run(policy.reply(Conversation(id=name, messages=messages), seed=seed))


def ask_together(policy: TransformersPolicy, *conversations: Conversation, seeds: Any = ()) -> list[Reply]:
    async def together() -> list[Reply]:
        given = dict(zip(range(len(conversations)), seeds, strict=False))
        return await asyncio.gather(*(policy.reply(c, seed=given.get(i)) for i, c in enumerate(conversations)))

    return asyncio.run(together())


class Watch:
    """What went through the model: new tokens and rows of every forward pass, its logits, images, patches."""

    def __init__(self) -> None:
        self.widths: list[int] = []
        self.rows: list[int] = []
        self.logits: list[Any] = []
        self.images = self.patches = 0


@contextmanager
def watching(policy: TransformersPolicy) -> Iterator[Watch]:
    watch, model = Watch(), policy.model.model

    def language(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        rows, width, _ = kwargs["inputs_embeds"].shape
        watch.rows.append(rows)
        watch.widths.append(width)

    def vision(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        watch.patches += args[0].shape[0]
        watch.images += len(kwargs["grid_thw"])

    def head(_module: Any, _args: Any, logits: Any) -> None:
        watch.logits.append(logits[:, -1].float().clone())

    hooks = [
        model.language_model.register_forward_pre_hook(language, with_kwargs=True),
        model.visual.register_forward_pre_hook(vision, with_kwargs=True),
        policy.model.lm_head.register_forward_hook(head),
    ]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
