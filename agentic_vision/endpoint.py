"""Requests to an OpenAI-compatible endpoint: which failures pass, how long to wait for that, whose client it is.

Used by the judge and by the policy. What passes (a lost connection, a time-out, 408, 409, 429 and 5xx) is asked again,
with exponential back-off and not before the endpoint's `Retry-After` is over, for as long as the caller's patience
lasts. Everything else would fail again, and is not asked again.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import ConfigError
from .whole_text import whole

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import AttemptManager, RetryCallState

T = TypeVar("T")

OVERLOADED = (429, 503)
SHORTEST_KEY = 8  # characters
USED_UP = ("insufficient_quota", "billing_hard_limit_reached")  # sent as 429, but no waiting helps


# What endpoints call a failure that comes without its HTTP status: in a stream, or as a body under status 200.
_STATUS_OF = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "insufficient_quota": 429,
    "overloaded": 503,
    "overloaded_error": 503,
    "service_unavailable": 503,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "api_error": 500,
    "timeout": 408,
}


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    import openai

    status = status_of(error)
    if status is not None:
        return status_passes(status, code_of(error))
    if is_unsendable(error):
        return False
    return isinstance(error, openai.APIConnectionError | BrokenStreamError | LateReplyError) or _of_http(error)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a refusal, or the one that it should have had; None for what is no refusal."""
    import openai

    if type(error) is openai.APIError:  # an event of a stream
        return status_meant(error.code, error.type)
    known = getattr(error, "response", None)  # botocore's is a dict
    of_aws = known.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(known, dict) else None
    # `status_code` of openai's errors, ours, and those of most providers' packages; `code` of Google's.
    for status in (getattr(error, "status_code", None), getattr(error, "code", None), of_aws):
        if isinstance(status, int) and 400 <= status < 600:
            return int(status)
    return None


def status_meant(*names: object) -> int:
    """The HTTP status that an endpoint's names for a failure stand for; 400 where they are not known."""
    for name in map(str, names):
        if len(name) == 3 and name.isdecimal() and name[0] in "45":
            return int(name)
        if name.lower() in _STATUS_OF:
            return _STATUS_OF[name.lower()]
    return 400


def status_passes(status: int, code: str) -> bool:
    """The same for a reply with an HTTP status; `code` is the endpoint's own word for what went wrong."""
    return (status in (408, 409, 429) or status >= 500) and code not in USED_UP


class BrokenStreamError(Exception):
    """A stream ended before its last event."""


class LateReplyError(Exception):
    """A reply, or the next piece of a stream, was not there in time."""


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Raises `LateReplyError` where the block takes longer: the HTTP library's own time begins anew with every byte,
    and an endpoint that sends one now and then would be waited for without end.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise LateReplyError(f"it was not whole after {seconds:g} s") from error


async def each_in_time(pieces: AsyncIterator[T], seconds: float) -> AsyncGenerator[T, None]:
    """The pieces of a stream, each of which may take so long. Raises `LateReplyError`."""
    while True:
        async with in_time(seconds):
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
        yield piece


class RefusalInReplyError(Exception):
    """An error that came in place of a reply, under the status of a success. `status_code`: the one it should have."""

    def __init__(self, message: str, *names: object) -> None:
        super().__init__(message)
        self.status_code = status_meant(*names)
        self.code = next((name for name in names if isinstance(name, str)), None)


def checked(reply: T) -> T:
    """A reply under the status of a success. Raises `RefusalInReplyError` where it holds nothing but an error."""
    error = getattr(reply, "error", None)
    if not error or getattr(reply, "choices", None):
        return reply
    if isinstance(error, dict):
        raise RefusalInReplyError(str(error.get("message") or error), error.get("code"), error.get("type"))
    raise RefusalInReplyError(str(error), error)


def is_unsendable(error: BaseException) -> bool:
    """Whether the request itself is against HTTP. The message may quote a header, and so the key: it is never told."""
    return any(type(one).__name__ == "LocalProtocolError" for one in (error, error.__cause__))


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


def tell_of_overload() -> None:
    """An endpoint has turned a request away because there are too many: tell whoever listens."""
    heard = _overload_heard.get()
    if heard is not None:
        heard()


async def attempts(patience: float) -> AsyncIterator[AttemptManager]:
    """tenacity's attempts: as many as fit into `patience` seconds. The last failure is raised as it was."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay, wait_random_exponential

    back_off = wait_random_exponential(multiplier=0.5, max=20)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        told = retry_after(error) if error else None
        return max(told or 0.0, back_off(state))  # not before, and never all at once

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and status_of(error) in OVERLOADED:
            tell_of_overload()

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
            seconds = float(headers["retry-after-ms"]) / 1000
        elif (told := headers.get("retry-after", "").strip()).isdecimal():
            seconds = float(told)
        else:
            seconds = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def code_of(error: BaseException) -> str:
    """The endpoint's own word for what went wrong; empty for none."""
    code = getattr(error, "code", None) or getattr(error, "type", None)
    return code if isinstance(code, str) else ""


def line(error: BaseException) -> str:
    """The error's message on one line, not too long for a message of ours."""
    return shortened(words_of(error))


def words_of(error: BaseException) -> str:
    """The error's message, less the key that was sent: some endpoints repeat it, and messages are stored and served."""
    import openai

    sent = error.request.headers.get("authorization", "") if isinstance(error, openai.APIError) else ""
    key = sent.partition(" ")[2]
    # A shorter one is none ("none", "k"), but a word that stands elsewhere in the message too.
    return str(error).replace(key, "***") if len(key) >= SHORTEST_KEY else str(error)


def shortened(words: str) -> str:
    """`words` on one line, cut where they go on for long, and without what cannot be stored."""
    return whole(" ".join(words.split())[:200])


def client(base_url: str | None, api_key: str | None, timeout: float) -> AsyncOpenAI:
    """A client for this event loop that does not retry by itself.

    Raises `ConfigError` without a key, for a key that cannot be one, and for an address that is none.
    """
    import openai

    key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY")
    if key is not None:
        key = key.strip()  # a file that holds a secret ends in a line break
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                "the key for the endpoint holds line breaks or letters that no key has: pass api_key, or set "
                "OPENAI_API_KEY, exactly as its provider shows it"
            )
    address = base_url if base_url is not None else os.environ.get("OPENAI_BASE_URL") or None
    if address is not None and not address.lower().startswith(("http://", "https://")):
        raise ConfigError(f"base_url={address!r} is no address: begin it with http:// or https://")
    try:
        # Not openai's usual one: where its loop has gone, that one is closed in the next loop, which it is not of.
        http_client = openai.DefaultAsyncHttpxClient(timeout=timeout)
        return openai.AsyncOpenAI(
            base_url=base_url, api_key=key, timeout=timeout, max_retries=0, http_client=http_client
        )
    except openai.OpenAIError as error:
        raise ConfigError(
            f"there is no key for the endpoint ({line(error)}): pass api_key or set OPENAI_API_KEY"
        ) from error


_making = threading.Lock()


class PerLoop(Generic[T]):
    """One `T` for every event loop that asks: connections, locks and tasks cannot be shared between two.

    Loops of several threads may ask at once.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """That of the running loop, made if need be."""
        loop = asyncio.get_running_loop()
        with _making:
            self._made = {other: own for other, own in self._made.items() if not other.is_closed()}
            if loop not in self._made:
                self._made[loop] = self._make()
            return self._made[loop]

    def pop(self) -> T | None:
        """That of the running loop, which is forgotten."""
        with _making:
            return self._made.pop(asyncio.get_running_loop(), None)

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_made": {}}
