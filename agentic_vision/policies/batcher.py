"""Who decodes, and when? One thread, that gathers the replies asked for at the same time into one batch.

A reply that is asked for while others are being decoded joins them after their current token. The thread ends
itself after a few seconds without work, and starts again with the next request. It also ends, after the token at hand,
when the interpreter does: a thread that is still computing then would take the process down with it.

What a request is and what becomes of its tokens is its `Task`'s business: a turn of a conversation, or bare tokens.
"""

from __future__ import annotations

import atexit
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

import torch

from ..errors import AgenticVisionError, PolicyError
from .decoding import Decoder, DecoderRow

IDLE_SECONDS = 5.0
GATHER_SECONDS = 0.001  # what an idle thread waits for the companions of a first request
EXIT_SECONDS = 10.0  # what the end of the process waits for the token at hand

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Task(Protocol[T_co]):
    """One reply to be decoded. `key`: two tasks of one key are never decoded at once, for they share a cache."""

    @property
    def key(self) -> str: ...

    def row(self) -> DecoderRow:
        """The row to decode; called in the batcher's thread, under `torch.inference_mode()`."""
        ...

    def progress(self, row: DecoderRow) -> None:
        """The row has one more token."""
        ...

    def result(self, row: DecoderRow) -> T_co:
        """What the finished row gives; its session holds the cache again."""
        ...


_batchers: WeakSet[Batcher[object]] = WeakSet()


@atexit.register
def _end() -> None:
    for batcher in list(_batchers):
        batcher.close()


@dataclass(eq=False)
class _Request(Generic[T]):
    task: Task[T]
    future: Future[T] = field(default_factory=Future)


class Batcher(Generic[T]):
    """Answers requests from any thread, `max_batch` at a time."""

    def __init__(self, decoder: Decoder, *, max_batch: int) -> None:
        self._decoder = decoder
        self._max_batch = max_batch
        self._waiting: deque[_Request[T]] = deque()
        self._running: dict[DecoderRow, _Request[T]] = {}
        self._change = Condition()
        self._thread: Thread | None = None
        self._closed = False
        _batchers.add(self)  # type: ignore[arg-type]

    def close(self) -> None:
        """Ends the thread after its current token; what is asked for is no longer answered."""
        with self._change:
            self._closed = True
            self._change.notify()
            thread = self._thread
        if thread is not None:
            thread.join(EXIT_SECONDS)

    def submit(self, task: Task[T]) -> Future[T]:
        """The reply to come. Cancelling the future takes the request out of the batch."""
        request = _Request(task)
        with self._change:
            if self._closed:
                raise PolicyError("this process is ending: nothing is answered any more")
            if self._thread is not None and not self._thread.is_alive():  # in a fork, where threads do not follow
                self._give_up()  # what was asked before it is answered in the other process
            self._waiting.append(request)
            self._change.notify()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="agentic-vision-decoder", daemon=True)
                self._thread.start()
        return request.future

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # nobody may be left waiting for a thread that is gone
            with self._change:
                lost = self._give_up()
            for request in lost:
                _settle(request.future, _as_policy_error(error))

    def _give_up(self) -> list[_Request[T]]:
        """Start afresh without a thread; the requests that nobody answers now."""
        self._thread, lost = None, [*self._waiting, *self._running.values()]
        for row in self._running:  # its cache may have grown past the pieces that it is known to hold
            row.session.clear()
        self._waiting.clear()
        self._running.clear()
        self._decoder.clear()
        return lost

    def _serve(self) -> None:
        with torch.inference_mode():
            while (requests := self._next_requests()) is not None:
                self._admit(requests)
                self._release()
                if self._running:
                    try:
                        self._decoder.step()
                        self._tell(self._running)
                    except Exception as error:
                        self._fail(list(self._running), error)
                        self._decoder.clear()
                    self._release()

    @staticmethod
    def _tell(rows: Mapping[DecoderRow, _Request[T]]) -> None:
        for row, request in rows.items():
            request.task.progress(row)

    def _next_requests(self) -> list[_Request[T]] | None:
        """What may join the batch now, in order of arrival; waits while there is nothing to do. None: nobody
        came for long, or it was closed.
        """
        with self._change:
            if not self._running:
                self._change.wait_for(lambda: self._waiting or self._closed, IDLE_SECONDS)
                if not self._waiting:
                    self._thread = None
                    return None
                self._change.release()
                time.sleep(GATHER_SECONDS)
                self._change.acquire()
            if self._closed:
                return None
            taken: list[_Request[T]] = []
            busy = {request.task.key for request in self._running.values()}
            later: deque[_Request[T]] = deque()
            while self._waiting:
                request = self._waiting.popleft()
                # Two turns of one conversation share its cache.
                if len(taken) + len(self._running) < self._max_batch and request.task.key not in busy:
                    busy.add(request.task.key)
                    taken.append(request)
                else:
                    later.append(request)
            self._waiting = later
            return taken

    def _admit(self, requests: list[_Request[T]]) -> None:
        rows: dict[DecoderRow, _Request[T]] = {}
        for request in requests:
            if request.future.cancelled():
                continue
            try:
                rows[request.task.row()] = request
            except Exception as error:
                _settle(request.future, _as_policy_error(error))
        if rows and not self._join(rows, alone=len(rows) == 1):
            for row, request in rows.items():  # together they take too much memory: each may fit by itself
                row.session.clear()
                try:
                    again = request.task.row()
                except Exception as error:
                    _settle(request.future, _as_policy_error(error))
                else:
                    self._join({again: request}, alone=True)

    def _join(self, rows: dict[DecoderRow, _Request[T]], *, alone: bool) -> bool:
        """Let rows into the batch, or fail them. False: there is no memory for them, and they are not `alone`."""
        self._running |= rows
        try:
            self._decoder.admit(list(rows))
            self._tell(rows)
        except Exception as error:
            self._decoder.release([row for row in rows if row in self._decoder.rows])
            if isinstance(error, torch.OutOfMemoryError) and not alone:
                for row in rows:
                    del self._running[row]
                return False
            self._fail(list(rows), error)
        return True

    def _release(self) -> None:
        """Hand out what is done, drop what nobody waits for any more."""
        given_up = [row for row, request in self._running.items() if not row.done and request.future.cancelled()]
        done = [row for row in self._running if row.done]
        if not done and not given_up:
            return
        self._decoder.release([*done, *given_up])
        for row in given_up:
            row.session.clear()
            del self._running[row]
        replies = [(row, self._running[row].task.result(row)) for row in done]
        # Out of `_running` only with a reply in hand: whoever is in neither place waits for ever.
        for row, reply in replies:
            _settle(self._running.pop(row).future, reply)

    def _fail(self, rows: list[DecoderRow], error: Exception) -> None:
        for row in rows:
            row.session.clear()
            _settle(self._running.pop(row).future, _as_policy_error(error))


def _as_policy_error(error: BaseException) -> AgenticVisionError:
    """Errors of our own as they are; anything else is the weights' failure to answer."""
    if isinstance(error, AgenticVisionError):
        return error
    found = PolicyError(f"the local weights failed: {type(error).__name__}: {error}")
    found.__cause__ = error
    return found


def _settle(future: Future[T], outcome: T | AgenticVisionError) -> None:
    try:
        if isinstance(outcome, AgenticVisionError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass  # cancelled at the last moment
