"""Any LangGraph checkpointer for an async graph: one that is only synchronous is called in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from .errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


def for_async(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """The saver as it is where it can be awaited; else one that calls it in threads.

    Raises `ConfigError` for what is no saver.
    """
    if not isinstance(saver, BaseCheckpointSaver):
        raise ConfigError(
            f"checkpointer={saver!r} is no checkpointer: give a saver of LangGraph's; what `from_conn_string` gives is "
            "opened with `with` first"
        )
    # LangGraph's synchronous savers (SqliteSaver, PostgresSaver) have the async methods, and raise in them.
    code = getattr(type(saver).aget_tuple, "__code__", None)
    return InThreads(saver) if code is not None and "NotImplementedError" in code.co_names else saver


class InThreads(BaseCheckpointSaver[Any]):
    """A synchronous saver, awaited."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver

    @property
    def config_specs(self) -> list[Any]:
        return self._saver.config_specs

    def get_next_version(self, current: Any, channel: Any) -> Any:
        return self._saver.get_next_version(current, channel)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._saver.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self._saver.get_tuple, config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        for found in await asyncio.to_thread(lambda: list(self._saver.list(config, **options))):
            yield found

    async def aput(self, config: RunnableConfig, *values: Any) -> RunnableConfig:
        return await asyncio.to_thread(self._saver.put, config, *values)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self._saver.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self._saver.delete_thread, thread_id)
