"""What a running question needs beyond its state: the opened sources, its clock and its seed.

The graph's state holds recipes and can be stored anywhere; pixels stay here, in the process, under the
question's id. A question that is resumed in another process gets its sources again from their paths.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError, ImageError
from .image_store import ImageStore
from .messages import SourceRecord
from .source import ImageLike, Source

KEPT = 64  # reopened questions whose end nobody announces (they were started on the graph itself)


@dataclass(frozen=True)
class Run:
    """One question in this process. `started` is on the `time.monotonic` clock; `heard`: someone listens to the
    policy while it speaks; `span`: its telemetry, where there is any.
    """

    sources: tuple[Source, ...]
    seed: int | None = None
    heard: bool = False
    span: Any = field(default=None, repr=False, compare=False)
    started: float = field(default_factory=time.monotonic)

    def seed_for(self, question: str, turn: int) -> int | None:
        """The policy's seed: the same for the same question, images and turn, another for others.

        With one seed for all, a batch of sampled answers would be a single throw of the dice; with one for all turns,
        what follows a call would hang together with the throw that decided to make it.
        """
        if self.seed is None:
            return None
        asked = "\0".join((str(self.seed), str(turn), question, *(source.digest for source in self.sources)))
        return int.from_bytes(hashlib.sha256(asked.encode("utf-8", "replace")).digest()[:4], "big")

    @property
    def seconds(self) -> float:
        """Since it started here."""
        return time.monotonic() - self.started


class Runs:
    """The questions of this process, by id."""

    def __init__(self, seed: int | None = None, images: ImageStore | None = None) -> None:
        self._seed = seed  # of those that nobody begins
        self._images = images
        self._busy: dict[str, object] = {}  # threads with a question
        self._asked: dict[str, Run] = {}
        self._reopened: OrderedDict[str, Run] = OrderedDict()

    @contextmanager
    def alone(self, thread_id: str | None) -> Iterator[None]:
        """The thread belongs to the block. Raises `ConfigError` where it does to another: one of two would be lost."""
        if thread_id is None:
            yield
            return
        mine = object()
        if self._busy.setdefault(thread_id, mine) is not mine:
            raise ConfigError(
                f"the thread {thread_id!r} is being asked already: wait for that answer (or close its stream), or take "
                "another thread_id"
            )
        try:
            yield
        finally:
            del self._busy[thread_id]

    async def begin(self, id: str, run: Run) -> None:
        """Hold `run` until `end`. Raises `ConfigError` where its images cannot be kept: then it is not held."""
        if self._images is not None:
            for source in run.sources:
                await asyncio.to_thread(self._images.keep, source)
        self._asked[id] = run

    def holds(self, id: str) -> bool:
        """Whether someone has begun it, who will end it as well."""
        return id in self._asked

    def end(self, id: str) -> None:
        """Let go of it; unknown ids are fine."""
        self._asked.pop(id, None)
        self._reopened.pop(id, None)

    async def start(self, id: str, paths: Sequence[str]) -> Run:
        """The run that `begin` holds, else a new one on the images at `paths` (or URLs). Raises `ImageError`."""
        # Never one reopened before: whoever starts the graph may use an id again, with other images.
        return self._asked.get(id) or self._kept(id, Run(await opened(paths), self._seed))

    async def get(self, id: str, records: Sequence[SourceRecord]) -> Run:
        """The run of this id; in another process than it began in, its sources are opened again.

        Raises `ConfigError` where they were neither files nor URLs, or have changed since.
        """
        run = self._asked.get(id) or self._reopened.get(id)
        if run is None:
            try:
                run = Run(tuple([await self._again(record) for record in records]), self._seed)
            except ImageError as error:
                raise ConfigError(f"{error}; to go on, pass the question's images to resume()") from error
            check_same(run.sources, records)  # before it is kept: the next to ask for it must be refused as well
            self._kept(id, run)
        return run

    async def _again(self, record: SourceRecord) -> Source:
        kept = None
        if self._images is not None:
            kept = await asyncio.to_thread(self._images.get, record.digest, record.label)
        return kept or await Source.aopen(record.label)

    def _kept(self, id: str, run: Run) -> Run:
        self._reopened[id] = run
        while len(self._reopened) > KEPT:
            self._reopened.popitem(last=False)
        return run


async def opened(images: Sequence[ImageLike | Source]) -> tuple[Source, ...]:
    """The images as sources. Raises `ImageError`."""
    return tuple([await Source.aopen(image) for image in images])


def check_same(sources: Sequence[Source], records: Sequence[SourceRecord]) -> None:
    """Raises `ConfigError` unless these are the images that were asked about, in their order."""
    if [source.digest for source in sources] != [record.digest for record in records]:
        names = ", ".join(record.label for record in records)
        raise ConfigError(f"these are not the images asked about ({names}): pass the same ones, unchanged")
