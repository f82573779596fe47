"""Requests to an OpenAI-compatible endpoint: which failures pass, how long to wait for that, whose client it is.

Used by the judge and by the policy. What passes (a lost connection, a time-out, 408, 409, 429 and 5xx) is asked again,
after what the endpoint's `Retry-After` says or else with exponential back-off, for as long as the caller's patience
lasts. Everything else would fail again, and is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import ConfigError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import AttemptManager, RetryCallState

T = TypeVar("T")

OVERLOADED = (429, 503)
USED_UP = ("insufficient_quota", "billing_hard_limit_reached")  # sent as 429, but no waiting helps


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return status_passes(error.status_code, code_of(error))
    return isinstance(error, openai.APIConnectionError | BrokenStreamError) or _of_http(error)


def status_passes(status: int, code: str) -> bool:
    """The same for a reply with an HTTP status; `code` is the endpoint's own word for what went wrong."""
    return (status in (408, 409, 429) or status >= 500) and code not in USED_UP


class BrokenStreamError(Exception):
    """A stream ended before its last event."""


def _of_http(error: BaseException) -> bool:
    # In the middle of a stream openai lets its HTTP library's errors through; which library that is depends on its
    # version.
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2")


_overload_heard: ContextVar[Callable[[], None] | None] = ContextVar("overload_heard", default=None)


@contextmanager
def on_overload(heard: Callable[[], None]) -> Iterator[None]:
    """`heard` is called for every request of the block, and of the tasks it starts, that an endpoint turns away
    because there are too many; whether it is asked again or not.
    """
    token = _overload_heard.set(heard)
    try:
        yield
    finally:
        _overload_heard.reset(token)


async def attempts(patience: float) -> AsyncIterator[AttemptManager]:
    """tenacity's attempts: as many as fit into `patience` seconds. The last failure is raised as it was."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay, wait_random_exponential

    back_off = wait_random_exponential(multiplier=0.5, max=20)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        told = retry_after(error) if error else None
        return back_off(state) if told is None else told

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        heard = _overload_heard.get()
        if heard is not None and getattr(error, "status_code", None) in OVERLOADED:
            heard()

    async for attempt in AsyncRetrying(
        retry=retry_if_exception(passes),
        wait=wait,
        after=tell,
        stop=stop_before_delay(max(patience, 0.0)),
        reraise=True,
    ):
        yield attempt


def retry_after(error: BaseException) -> float | None:
    """The seconds that the endpoint asks to wait; None where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        told = headers.get("retry-after", "")
        if not told or told.strip().isdigit():
            return float(told) if told else None
        return max((parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def code_of(error: BaseException) -> str:
    """The endpoint's own word for what went wrong; empty for none."""
    code = getattr(error, "code", None) or getattr(error, "type", None)
    return code if isinstance(code, str) else ""


def line(error: BaseException) -> str:
    """The error's message on one line, not too long for a message of ours."""
    return shortened(str(error))


def shortened(words: str) -> str:
    """`words` on one line, cut where they go on for long."""
    return " ".join(words.split())[:200]


def client(base_url: str | None, api_key: str | None, timeout: float) -> AsyncOpenAI:
    """A client for this event loop that does not retry by itself. Raises `ConfigError` without a key."""
    import openai

    try:
        return openai.AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=0)
    except openai.OpenAIError as error:
        raise ConfigError(
            f"there is no key for the endpoint ({line(error)}): pass api_key or set OPENAI_API_KEY"
        ) from error


class PerLoop(Generic[T]):
    """One `T` for every event loop that asks: connections, locks and tasks cannot be shared between two."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """That of the running loop, made if need be."""
        self._made = {loop: own for loop, own in self._made.items() if not loop.is_closed()}
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            self._made[loop] = self._make()
        return self._made[loop]

    def pop(self) -> T | None:
        """That of the running loop, which is forgotten."""
        return self._made.pop(asyncio.get_running_loop(), None)

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_made": {}}
