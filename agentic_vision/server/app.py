"""The server's addresses: /v1/chat/completions, /v1/models, /healthz, /metrics.

`create_app(agent)` is an ASGI application like any other; `agentic-vision serve` runs it with uvicorn. Requests are
bounded in number, size and time, from their first byte on. A client that goes away takes its question with it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..agent import VisionAgent
from ..errors import ConfigError, ContextFullError, ImageError, PolicyError, RefusedError
from ..image_limits import ImageLimits
from ..result import DoneEvent, Event
from ..url_rules import UrlRules
from . import answers, incoming, schema
from .admission import Admission, FullError
from .metrics import Metrics
from .pumped import Pumped
from .raw import Raw
from .wire import MAX_IMAGES, ChatRequest, Completion, error, event

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """`model`: the name under which it is served. `raw`: the bare policy, without the loop. `api_keys`: whom to serve;
    none is everybody. `hosts`: the names under which it may be called; none is every name. `in_flight` questions at
    once, `queue` waiting. `deadline`: seconds a request, its upload and its waiting included. `max_bytes` of a request,
    and of what is fetched for it. `urls`: by which rules images are fetched from http(s) URLs; None is not at all.
    Raises `ConfigError` for settings that cannot be.
    """

    model: str = "agentic-vision"
    raw: bool = False
    api_keys: Sequence[str] = field(default=(), repr=False)  # settings are printed, keys are not
    hosts: Sequence[str] = ()
    in_flight: int = 32
    queue: int = 128
    deadline: float = 120.0
    max_bytes: int = 64 * 2**20
    urls: UrlRules | None = None

    def __post_init__(self) -> None:
        most = ImageLimits.current().max_image_bytes
        if self.in_flight < 1 or self.queue < 0 or self.deadline <= 0 or not 0 < self.max_bytes <= most:
            raise ConfigError(
                "a server needs in_flight of 1 or more, a queue of 0 or more, a deadline above 0, and max_bytes from 1 "
                f"to {most:,}"
            )
        if not all(key.strip() for key in self.api_keys):
            raise ConfigError(
                "a key of this server is empty, which would let everybody in: give keys, or none to do just that"
            )


class _HttpError(Exception):
    """A reply that is an error."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.response = JSONResponse(body, status, headers)


class _GoneError(Exception):
    """The client went away."""


def create_app(agent: VisionAgent, settings: Settings | None = None) -> FastAPI:
    """The application that answers with `agent`, or with its policy alone."""
    settings = settings or Settings()
    return _Server(agent, settings).app()


class _Server:
    def __init__(self, agent: VisionAgent, settings: Settings) -> None:
        self._agent, self._settings = agent, settings
        self._admission = Admission(settings.in_flight, settings.queue)
        self._metrics = Metrics(self._admission)
        self._raw = Raw(agent.policy, as_written=settings.raw)

    def app(self) -> FastAPI:
        app = FastAPI(
            title="agentic-vision",
            docs_url=None,  # its page would be fetched from elsewhere
            redoc_url=None,
            max_body_size=self._settings.max_bytes,
        )
        app.add_api_route(
            "/v1/chat/completions",
            self.chat,
            methods=["POST"],
            openapi_extra=schema.REQUEST,
            responses=schema.REPLIES,
        )
        app.add_api_route("/v1/models", self.models, methods=["GET"], responses=schema.MODELS)
        app.add_api_route("/v1/models/{name:path}", self.one_model, methods=["GET"], responses=schema.MODEL)
        app.add_api_route("/healthz", self.health, methods=["GET"])
        app.add_api_route("/metrics", self.metrics, methods=["GET"], response_class=Response, responses=schema.METRICS)
        app.add_exception_handler(HTTPException, _as_openai)
        schema.describe(app)
        return app

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "running": self._admission.running, "waiting": self._admission.waiting}

    async def metrics(self) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, request: Request) -> Response:
        return await self._replied(lambda: self._checked(request, {"object": "list", "data": [self._model()]}))

    async def one_model(self, request: Request, name: str) -> Response:
        async def found() -> Response:
            if name != self._settings.model:
                raise _HttpError(404, error(f"there is no model {name!r}", "invalid_request_error", "model_not_found"))
            return await self._checked(request, self._model())

        return await self._replied(found)

    async def chat(self, request: Request) -> Response:
        response = await self._replied(lambda: self._chat(request))
        self._metrics.answered(response.status_code)
        return response

    async def _chat(self, request: Request) -> Response:
        self._authorised(request)
        # Whatever else a browser sends to another site, it sends without asking that site first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            said = "the request is not said to be JSON: send the header Content-Type: application/json"
            raise _HttpError(415, error(said, "invalid_request_error"))
        until = asyncio.get_running_loop().time() + self._settings.deadline
        try:
            async with asyncio.timeout_at(until):
                asked = await self._read(request)
                completion = Completion(self._settings.model)
                # Without an image there is nothing to look at, and nothing to save.
                raw = self._settings.raw or not asked.images
                if not raw and asked.tools:
                    said = (
                        "this server calls visual tools by itself, and none of the client's: leave out `tools`, or "
                        "start it with --raw"
                    )
                    raise _HttpError(400, error(said, "invalid_request_error"))
                if asked.stream:
                    work = self._streamed(asked, completion, raw=raw, until=until)
                else:
                    work = self._answered(asked, completion, raw=raw)
                return await _unless_gone(request, work)
        except TimeoutError as late:
            raise _HttpError(504, self._late()) from late

    async def _read(self, request: Request) -> ChatRequest:
        """What is asked. While it is uploaded, it has a place among those who wait."""
        try:
            with self._admission.uploading():
                asked = ChatRequest.model_validate_json(await request.body())
        except ClientDisconnect as gone:
            raise _GoneError from gone
        except ValidationError as invalid:
            # Of the alternatives that did not match, the one that came furthest is what was meant.
            first = max(invalid.errors(include_url=False), key=lambda problem: len(problem["loc"]))
            where = ".".join(map(str, first["loc"])) or "body"
            raise _HttpError(400, error(f"{where}: {first['msg']}", "invalid_request_error")) from invalid
        if len(asked.images) > MAX_IMAGES:
            raise ImageError(f"the request has {len(asked.images)} images, more than {MAX_IMAGES}: send fewer")
        return asked

    async def _answered(self, asked: ChatRequest, completion: Completion, *, raw: bool) -> Response:
        async with self._admission.admitted():
            asked = await self._fetched(asked)
            if raw:
                return JSONResponse(await self._raw.ask(asked, completion))
            images = await asyncio.to_thread(incoming.sources, asked)
            result = await self._agent.aask(images, incoming.question(asked), seed=asked.seed)
            self._metrics.asked(result.trajectory, self._agent.toolbox.names)
        if (failed := answers.failure(result.trajectory)) is not None:
            return JSONResponse(failed[1], failed[0])
        return JSONResponse(answers.whole(result, completion, trajectory=asked.agentic_vision.trajectory))

    async def _streamed(self, asked: ChatRequest, completion: Completion, *, raw: bool, until: float) -> Response:
        """Admission and bad input are told by the status; from the first event on, errors are events."""
        pumped = Pumped(self._admitted(self._parts(asked, completion, raw=raw), until))
        try:
            first = await pumped.next()
        except BaseException:
            pumped.cancel()
            raise
        return StreamingResponse(pumped.rest(first), media_type="text/event-stream")

    async def _parts(self, asked: ChatRequest, completion: Completion, *, raw: bool) -> AsyncGenerator[str, None]:
        asked = await self._fetched(asked)
        if raw:
            parts = self._raw.stream(asked, completion)
        else:
            images = await asyncio.to_thread(incoming.sources, asked)
            events = self._agent.astream(images, incoming.question(asked), seed=asked.seed, text=True)
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            parts = answers.chunks(
                self._counted(events), completion, with_usage=with_usage, trajectory=asked.agentic_vision.trajectory
            )
        async with aclosing(parts):
            async for part in parts:
                yield part

    async def _fetched(self, asked: ChatRequest) -> ChatRequest:
        rules = self._settings.urls
        return asked if rules is None else await incoming.fetched(asked, rules, self._settings.max_bytes)

    async def _admitted(self, parts: AsyncGenerator[str, None], until: float) -> AsyncGenerator[str, None]:
        begun = False
        async with aclosing(parts), self._admission.admitted():
            try:
                async with asyncio.timeout_at(until):
                    async for part in parts:
                        begun = True
                        yield part
            except TimeoutError:
                if not begun:
                    raise
                yield event(self._late())
            except (PolicyError, ImageError) as failed:
                if not begun:
                    raise
                yield event(_as_reply(failed)[1])

    async def _counted(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            async for happened in events:
                if isinstance(happened, DoneEvent):
                    self._metrics.asked(happened.result.trajectory, self._agent.toolbox.names)
                yield happened

    def _late(self) -> dict[str, Any]:
        return error(f"no answer within {self._settings.deadline:g} s", "timeout_error", "deadline")

    async def _checked(self, request: Request, body: dict[str, Any]) -> Response:
        self._authorised(request)
        return JSONResponse(body)

    def _authorised(self, request: Request) -> None:
        hosts = self._settings.hosts
        if hosts and _host(request) not in hosts:
            names = " or ".join(hosts)
            said = f"this server is called {names}: use that address, or start it with --allow-host or with keys"
            raise _HttpError(403, error(said, "invalid_request_error"))
        if not self._settings.api_keys:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Every key is compared, in constant time: the time taken tells nothing.
        known = max([hmac.compare_digest(given.encode(), key.encode()) for key in self._settings.api_keys])
        if not known or scheme.lower() != "bearer":
            said = "the key is not one of this server's: send Authorization: Bearer KEY"
            raise _HttpError(401, error(said, "authentication_error", "invalid_api_key"))

    def _model(self) -> dict[str, Any]:
        return {"id": self._settings.model, "object": "model", "created": 0, "owned_by": "agentic-vision"}

    async def _replied(self, work: Callable[[], Awaitable[Response]]) -> Response:
        """What `work` replies; an error that is the client's or the model's as OpenAI writes it."""
        try:
            return await work()
        except _HttpError as failed:
            return failed.response
        except _GoneError:
            return Response(status_code=499)  # nobody reads it
        except FullError as full:
            body = error(str(full), "rate_limit_error", "queue_full")
            return JSONResponse(body, 429, {"Retry-After": str(full.retry_after)})
        except (PolicyError, ImageError, ConfigError) as failed:
            return JSONResponse(_as_reply(failed)[1], _as_reply(failed)[0])


def _as_reply(failed: Exception) -> tuple[int, dict[str, Any]]:
    match failed:
        case ImageError():
            return 400, error(str(failed), "invalid_request_error", "invalid_image")
        case ContextFullError():
            return 400, error(str(failed), "invalid_request_error", "context_length_exceeded")
        case RefusedError():
            return 400, error(str(failed), "invalid_request_error", "content_filter")
        case PolicyError():
            return 502, error(str(failed), "server_error", "upstream_failed")
        case _:
            return 400, error(str(failed), "invalid_request_error")


def _host(request: Request) -> str:
    """Under which name the server was called, without the port."""
    try:
        return urlsplit("//" + request.headers.get("host", "")).hostname or ""
    except ValueError:
        return ""


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives; it is cancelled where the client goes away. Raises `_GoneError` then."""

    async def gone() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(0.1)

    asked = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({asked, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise _GoneError
        return asked.result()
    finally:
        for task in (asked, watch):
            task.cancel()
        await asyncio.gather(asked, watch, return_exceptions=True)


async def _as_openai(_: Request, failed: Exception) -> Response:
    assert isinstance(failed, HTTPException)
    return JSONResponse(error(str(failed.detail), "invalid_request_error"), failed.status_code, failed.headers)
