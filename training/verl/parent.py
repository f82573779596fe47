"""How the process that trains ends with the one that started it, and loses no line of `metrics.jsonl` over it."""

from __future__ import annotations

import os
import signal
import threading
import time

from ..run_folder import LOGGING_SECONDS, RunFolder


def end_with_parent(run: RunFolder) -> None:
    """From now on this process ends, with 1, when its standard input is closed: who started it has gone, or wants it.

    Ctrl-C in a terminal reaches both; it is meant for that one. Where a step has its checkpoint, its line in verl's log
    is waited for, at most `LOGGING_SECONDS`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_when_closed, args=(run,), daemon=True).start()


def _end_when_closed(run: RunFolder) -> None:
    begun = run.resumes_at or None
    try:
        while os.read(0, 1):  # unbuffered: a buffer's lock would be in the way when the interpreter ends
            pass
        given_up = time.monotonic() + LOGGING_SECONDS
        while run.unlogged and run.resumes_at != begun and time.monotonic() < given_up:
            time.sleep(0.05)
        import ray

        ray.shutdown()
    finally:
        os._exit(1)
