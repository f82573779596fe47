"""What the server says of itself at /openapi.json: what a request may hold, and which replies there are.

Requests are read by the server itself, within its limits, so that FastAPI does not see what they hold: it is told here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .wire import ChatRequest

_WHERE = "#/components/schemas/"

REQUEST: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": f"{_WHERE}ChatRequest"}}}}
}
"""`openapi_extra` of the route that takes a `ChatRequest`."""

_KEY: dict[int | str, dict[str, Any]] = {
    401: {"description": "The key is none of this server's."},
    403: {"description": "The host that was called is none of this server's."},
}

REPLIES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer: as one object, or as events where the request says `stream`.",
        "content": {"application/json": {}, "text/event-stream": {}},
    },
    **_KEY,
    400: {"description": "What was sent cannot be answered: the request, an image, or its length."},
    413: {"description": "The body is larger than this server takes."},
    415: {"description": "What was sent is not said to be JSON."},
    429: {"description": "Too many questions at once; Retry-After says when to come back."},
    500: {"description": "The server itself failed; its log says how."},
    502: {"description": "The model behind the server failed."},
    504: {"description": "There was no answer within the deadline."},
}
"""`responses` of that route."""

MODELS = _KEY
MODEL: dict[int | str, dict[str, Any]] = {**_KEY, 404: {"description": "There is no model of this name."}}
METRICS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}
"""`responses` of the other routes."""


def describe(app: FastAPI) -> None:
    """Let the schema of `app` hold `ChatRequest`."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            request = ChatRequest.model_json_schema(ref_template=_WHERE + "{model}")
            parts = {**request.pop("$defs", {}), "ChatRequest": request}
            components = found.setdefault("components", {})
            components["schemas"] = {**components.get("schemas", {}), **parts}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]
