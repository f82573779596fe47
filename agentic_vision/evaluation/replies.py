"""What a policy said before, found again by what it was asked: a second run on the same inputs costs nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from pathlib import Path

from ..errors import ConfigError
from ..policy import Concluding, Conversation, ImagePart, Policy, Reply
from .wrapped import Wrapped

_LOG = logging.getLogger(__name__)


class Replies:
    """A SQLite file of replies, for any number of policies and processes.

    What cannot be kept later (a full disk) is logged once, and asked again another time. Raises `ConfigError` where the
    file cannot be opened, or is another one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._warned = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One connection for all threads, each statement a transaction: sqlite3 takes care of its own lock.
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot keep replies in {self.path} ({error}): give the path of a new file in a folder that is yours "
                "to write"
            ) from error

    def get(self, key: str) -> Reply | None:
        """The reply under `key`."""
        try:
            found = self._connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._warn(error)
            return None
        return Reply.model_validate_json(found[0]) if found else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply."""
        try:
            self._connection.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, reply.model_dump_json()))
        except sqlite3.Error as error:
            self._warn(error)

    def _warn(self, error: sqlite3.Error) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning("replies cannot be kept in %s (%s): they are asked for again another time", self.path, error)

    def close(self) -> None:
        """Nothing more is read or kept."""
        self._connection.close()


class Remembering(Wrapped):
    """A policy that is asked only what it was not asked before.

    `name` tells it from other policies and other settings of the same. A reply belongs to all that was said and shown,
    by content, to the tools and to the seed.
    """

    def __init__(self, policy: Policy, replies: Replies, name: str) -> None:
        super().__init__(policy)
        self._replies = replies
        self._name = name
        self._recalled: set[str] = set()

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        """The reply that it gave before, else a new one."""
        return await self._once("reply", conversation, seed)

    def recalled(self, conversation_id: str) -> bool:
        """Whether a reply of this conversation, which is over, was read from the cache."""
        known = conversation_id in self._recalled
        self._recalled.discard(conversation_id)
        return known

    async def _once(self, how: str, conversation: Conversation, seed: int | None) -> Reply:
        key = _key(self._name, how, conversation, seed)
        known = await asyncio.to_thread(self._replies.get, key)
        if known is not None:
            self._recalled.add(conversation.id)
            return known
        said: Reply = await getattr(self.policy, how)(conversation, seed=seed)
        await asyncio.to_thread(self._replies.put, key, said)
        return said


class _ConcludingRemembering(Remembering):
    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        return await self._once("conclude", conversation, seed)


def remembering(policy: Policy, replies: Replies, name: str) -> Remembering:
    """`policy` with a memory, which can be made to answer where `policy` can."""
    return (_ConcludingRemembering if isinstance(policy, Concluding) else Remembering)(policy, replies, name)


def _key(name: str, how: str, conversation: Conversation, seed: int | None) -> str:
    said = [
        (message.role, [_part(part) if isinstance(part, ImagePart) else part.text for part in message.parts])
        for message in conversation.messages
    ]
    tools = [(tool.name, tool.description, tool.schema) for tool in conversation.tools]
    asked = json.dumps([name, how, said, tools, seed], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _part(part: ImagePart) -> dict[str, object]:
    return {"image": part.source.digest, "view": part.view.model_dump(mode="json")}
