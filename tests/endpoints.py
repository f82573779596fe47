"""Real HTTP servers for the tests of endpoints: our own, and one that plays a script, good and bad manners alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application on a free port, while the block runs; gives the address of its /v1."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(10)


def chat(text: str | None = None, *, calls: Sequence[tuple[str, str]] = (), finish: str = "stop", **more: Any) -> Any:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": text, **more}
    if calls:
        message["tool_calls"] = [
            {"id": f"theirs_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else finish}
    usage = {"prompt_tokens": 0, "completion_tokens": 7, "total_tokens": 7}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def response(text: str | None = None, *, calls: Sequence[tuple[str, str]] = (), id: str = "r", **more: Any) -> Any:
    """A response of the Responses API."""
    output: list[Any] = []
    if text is not None:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output.append({"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content})
    for number, (name, arguments) in enumerate(calls):
        call = {"type": "function_call", "id": "f", "call_id": f"{id}_{number}", "name": name, "arguments": arguments}
        output.append(call)
    return {
        "id": id,
        "object": "response",
        "created_at": 0,
        "model": "m",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **more,
    }


def failure(status: int, message: str = "no", code: str | None = None, **headers: str) -> Response:
    """An error as OpenAI writes it; headers with underscores for dashes."""
    body = {"error": {"message": message, "type": "error", "code": code, "param": None}}
    return JSONResponse(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def events(*values: Any, done: bool = True) -> Response:
    """Server-sent events; without `done` the connection is closed in the middle."""

    async def body() -> Any:
        for value in values:
            yield f"data: {json.dumps(value)}\n\n"
        if done:
            yield "data: [DONE]\n\n"

    return StreamingResponse(body(), media_type="text/event-stream")


@dataclass
class Scripted:
    """An endpoint that answers in turn with what it is given: a body, a `Response`, or a function of the request."""

    script: list[Any]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: int = 0  # clients that closed their connection while they waited

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        paths = ["/v1/chat/completions", "/v1/responses"]
        with serving(Starlette(routes=[Route(path, self._answer, methods=["POST"]) for path in paths])) as url:
            yield url

    async def _answer(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        answer = self.script[min(len(self.requests), len(self.script)) - 1]
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(self.requests[-1])
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if callable(answer) else JSONResponse(answer)  # a Response is callable

    def hangs(self) -> Callable[[Any], Any]:
        """An answer that does not come; it counts in `left` who gave up."""

        def answer(_: Any) -> Response:
            async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.left += 1

            return app  # type: ignore[return-value]

        return answer
