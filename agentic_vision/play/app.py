"""The page's addresses: /, its script and style, the examples, and /ask, which streams what the agent does.

The page fetches nothing from elsewhere and runs its own script alone. Requests of other sites' pages are refused, and
who leaves takes the question along.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..agent import VisionAgent
from ..listening import called
from ..server.admission import Admission, FullError
from ..server.gone import GoneError, unless_gone
from ..server.pumped import Pumped
from .agents import Agents
from .examples import EXAMPLES
from .page import page_html, script, stylesheet
from .page_question import PageQuestion, most_bytes
from .updates import line, updates

AT_ONCE, WAITING = 4, 16  # questions

HEADERS = {
    # Styles may stand in the page: the trace's colours and widths are attributes.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(agent: VisionAgent, model: str, hosts: Sequence[str] = ()) -> FastAPI:
    """The application that asks `agent`. `model`: what its policy is called; `hosts`: the names under which the page
    may be called, none is every name.
    """
    playground = _Playground(Agents(agent), model, hosts)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, max_body_size=most_bytes())
    app.add_api_route("/", playground.page, methods=["GET"])
    app.add_api_route("/play.js", playground.script, methods=["GET"])
    app.add_api_route("/play.css", playground.style, methods=["GET"])
    app.add_api_route("/examples/{name}.png", playground.example, methods=["GET"])
    app.add_api_route("/ask", playground.ask, methods=["POST"])
    app.add_exception_handler(HTTPException, _refused)
    return app


class _Playground:
    def __init__(self, agents: Agents, model: str, hosts: Sequence[str]) -> None:
        self._agents, self._hosts = agents, hosts
        self._admission = Admission(AT_ONCE, WAITING)
        self._page = page_html(agents, model)

    async def page(self, request: Request) -> Response:
        self._check(request)
        return Response(self._page, media_type="text/html; charset=utf-8", headers=HEADERS)

    async def script(self) -> Response:
        return Response(script(), media_type="text/javascript; charset=utf-8", headers=HEADERS)

    async def style(self) -> Response:
        return Response(stylesheet(), media_type="text/css; charset=utf-8", headers=HEADERS)

    async def example(self, name: str) -> Response:
        if name not in EXAMPLES:
            raise HTTPException(404, f"there is no example {name!r}")
        return Response(EXAMPLES[name].png, media_type="image/png", headers=HEADERS)

    async def ask(self, request: Request) -> Response:
        self._check(request)
        # Whatever else a browser sends to another site, it sends without asking that site first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "the question is not said to be JSON: send Content-Type: application/json")
        try:
            with self._admission.uploading():
                asked = PageQuestion.model_validate_json(await request.body())
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except FullError as full:
            raise HTTPException(429, str(full)) from full
        except ValidationError as invalid:
            first = invalid.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the question"
            raise HTTPException(400, f"{where}: {first['msg']}") from invalid
        pumped = Pumped(self._admitted(updates(self._agents, asked)))
        try:
            first_line = await unless_gone(request, pumped.next())
        except GoneError:
            pumped.cancel()
            return Response(status_code=499)
        except BaseException:
            pumped.cancel()
            raise
        return StreamingResponse(pumped.rest(first_line), media_type="application/x-ndjson", headers=HEADERS)

    async def _admitted(self, lines: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        async with aclosing(lines):
            try:
                async with self._admission.admitted():
                    async for update in lines:
                        yield update
            except FullError as full:
                yield line(error=str(full))

    def _check(self, request: Request) -> None:
        """Raises where a page that was led here by DNS rebinding calls this machine by a name that is not its own."""
        if self._hosts and called(request.headers.get("host", "")) not in self._hosts:
            raise HTTPException(403, f"this page is called {' or '.join(self._hosts)}: use that address")


async def _refused(_: Request, failed: Exception) -> Response:
    assert isinstance(failed, HTTPException)
    return JSONResponse({"error": str(failed.detail)}, failed.status_code, {**HEADERS, **(failed.headers or {})})
