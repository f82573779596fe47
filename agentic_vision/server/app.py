"""The server's addresses: /v1/chat/completions, /v1/models, /healthz, /metrics.

`create_app(agent)` is an ASGI application like any other; `agentic-vision serve` runs it with uvicorn. Requests are
bounded in number, size and time, from their first byte on. A client that goes away takes its question with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..agent import VisionAgent
from ..errors import ImageError
from ..result import DoneEvent, Event
from . import answers, incoming, schema
from .admission import Admission
from .errors import HttpError, as_openai, as_reply, replied
from .gone import GoneError, unless_gone
from .metrics import Metrics
from .pumped import Pumped
from .raw import Raw
from .settings import ServerSettings
from .wire import MAX_IMAGES, ChatRequest, Completion, error, event


def create_app(agent: VisionAgent, settings: ServerSettings | None = None) -> FastAPI:
    """The application that answers with `agent`, or with its policy alone."""
    settings = settings or ServerSettings()
    return _Server(agent, settings).app()


class _Server:
    def __init__(self, agent: VisionAgent, settings: ServerSettings) -> None:
        self._agent, self._settings = agent, settings
        self._admission = Admission(settings.in_flight, settings.queue)
        self._metrics = Metrics(self._admission)
        self._raw = Raw(agent.policy, as_written=settings.raw)

    def app(self) -> FastAPI:
        app = FastAPI(
            title="agentic-vision",
            version=__version__,
            docs_url=None,  # its page would be fetched from elsewhere
            redoc_url=None,
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
        app.add_exception_handler(HTTPException, as_openai)
        schema.describe(app)
        return app

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "running": self._admission.running, "waiting": self._admission.waiting}

    async def metrics(self) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, request: Request) -> Response:
        return await replied(lambda: self._checked(request, {"object": "list", "data": [self._model()]}))

    async def one_model(self, request: Request, name: str) -> Response:
        async def found() -> Response:
            self._settings.authorise(request)
            if name != self._settings.model:
                raise HttpError(404, error(f"there is no model {name!r}", "invalid_request_error", "model_not_found"))
            return JSONResponse(self._model())

        return await replied(found)

    async def chat(self, request: Request) -> Response:
        response = await replied(lambda: self._chat(request))
        self._metrics.answered(response.status_code)
        return response

    async def _chat(self, request: Request) -> Response:
        self._settings.authorise(request)
        # Whatever else a browser sends to another site, it sends without asking that site first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            said = "the request is not said to be JSON: send the header Content-Type: application/json"
            raise HttpError(415, error(said, "invalid_request_error"))
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
                    raise HttpError(400, error(said, "invalid_request_error"))
                if asked.stream:
                    work = self._streamed(asked, completion, raw=raw, until=until)
                else:
                    work = self._answered(asked, completion, raw=raw)
                return await unless_gone(request, work)
        except TimeoutError as late:
            raise HttpError(504, self._late()) from late

    async def _read(self, request: Request) -> ChatRequest:
        """What is asked. While it is uploaded, it has a place among those who wait."""
        try:
            with self._admission.uploading():
                asked = ChatRequest.model_validate_json(await incoming.body(request, self._settings.max_bytes))
        except ClientDisconnect as gone:
            raise GoneError from gone
        except ValidationError as invalid:
            # Of the alternatives that did not match, the one that came furthest is what was meant.
            first = max(invalid.errors(include_url=False), key=lambda problem: len(problem["loc"]))
            where = ".".join(map(str, first["loc"])) or "body"
            raise HttpError(400, error(f"{where}: {first['msg']}", "invalid_request_error")) from invalid
        if len(asked.images) > MAX_IMAGES:
            raise ImageError(f"the request has {len(asked.images)} images, more than {MAX_IMAGES}: send fewer")
        return asked

    async def _answered(self, asked: ChatRequest, completion: Completion, *, raw: bool) -> Response:
        async with self._admission.admitted():
            held = await self._fetched(asked)
            if raw:
                return JSONResponse(await self._raw.ask(asked, held, completion))
            images = await asyncio.to_thread(incoming.sources, asked, held)
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
        held = await self._fetched(asked)
        if raw:
            parts = self._raw.stream(asked, held, completion)
        else:
            images = await asyncio.to_thread(incoming.sources, asked, held)
            events = self._agent.astream(images, incoming.question(asked), seed=asked.seed, text=True)
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            parts = answers.chunks(
                self._counted(events), completion, with_usage=with_usage, trajectory=asked.agentic_vision.trajectory
            )
        async with aclosing(parts):
            async for part in parts:
                yield part

    async def _fetched(self, asked: ChatRequest) -> Mapping[str, bytes]:
        rules = self._settings.urls
        return {} if rules is None else await incoming.fetched(asked, rules, self._settings.max_bytes)

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
            except Exception as failed:  # whatever it is: a stream that merely ends says nothing
                if not begun:
                    raise
                yield event(as_reply(failed)[1])

    async def _counted(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            async for happened in events:
                if isinstance(happened, DoneEvent):
                    self._metrics.asked(happened.result.trajectory, self._agent.toolbox.names)
                yield happened

    def _late(self) -> dict[str, Any]:
        return error(f"no answer within {self._settings.deadline:g} s", "timeout_error", "deadline")

    async def _checked(self, request: Request, body: dict[str, Any]) -> Response:
        self._settings.authorise(request)
        return JSONResponse(body)

    def _model(self) -> dict[str, Any]:
        return {"id": self._settings.model, "object": "model", "created": 0, "owned_by": "agentic-vision"}
