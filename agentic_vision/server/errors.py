"""What goes wrong, as OpenAI's clients read it: a status and an `error` body."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..errors import AgenticVisionError, ImageError, PolicyError
from ..limits import stop_reason
from ..messages import StopReason
from .admission import FullError
from .gone import GoneError
from .wire import error

_log = logging.getLogger(__name__)

_FAILED = {
    StopReason.POLICY_FAILED: (502, "server_error", "upstream_failed"),
    StopReason.MISCONFIGURED: (502, "server_error", "upstream_misconfigured"),
    StopReason.DEADLINE: (504, "timeout_error", "deadline"),
    StopReason.CONTEXT_FULL: (400, "invalid_request_error", "context_length_exceeded"),
}


class HttpError(Exception):
    """A reply that is an error: its status, its body, its headers."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.response = JSONResponse(body, status, headers)


def of_stop(stop: StopReason, said: str) -> tuple[int, dict[str, Any]] | None:
    """The status and the body of a question that ended so without an answer; None where that is no failure."""
    if stop not in _FAILED:
        return None
    status, kind, code = _FAILED[stop]
    return status, error(said, kind, code)


async def replied(work: Callable[[], Awaitable[Response]]) -> Response:
    """What `work` replies; an error that is the client's or the model's as OpenAI writes it."""
    try:
        return await work()
    except HttpError as failed:
        return failed.response
    except GoneError:
        return Response(status_code=499)  # nobody reads it
    except FullError as full:
        body = error(str(full), "rate_limit_error", "queue_full")
        return JSONResponse(body, 429, {"Retry-After": str(full.retry_after)})
    except Exception as failed:
        status, body = as_reply(failed)
        return JSONResponse(body, status)


def as_reply(failed: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error: the client's, the model's, or, with a line in the log, ours."""
    match failed:
        case ImageError():
            return 400, error(str(failed), "invalid_request_error", "invalid_image")
        case PolicyError():
            status, kind, code = _FAILED.get(stop_reason(failed), _FAILED[StopReason.POLICY_FAILED])
            return status, error(str(failed), kind, code)
        case AgenticVisionError():
            return 400, error(str(failed), "invalid_request_error")
        case _:
            _log.error("a request failed", exc_info=failed)
            return 500, error("the server failed at this request: its log says more", "server_error", "internal_error")


async def as_openai(_: object, failed: Exception) -> Response:
    """What the framework refuses by itself: an unknown address, a method that is none."""
    assert isinstance(failed, HTTPException)
    return JSONResponse(error(str(failed.detail), "invalid_request_error"), failed.status_code, failed.headers)
