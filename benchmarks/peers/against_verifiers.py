"""The environment loop of verifiers (`ToolEnv`) and ours: a question about an image, one tool call, an answer.

In the process: a client class of its own kind. Over HTTP: its client for OpenAI-compatible endpoints; the image is sent
as the file's bytes, and the tool cuts the region out with Pillow.
"""

from __future__ import annotations

import base64
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import verifiers as vf
from asking import ANSWER, BOX, QUESTION, Ask, in_process, over_http
from datasets import Dataset
from measuring import Measured, main
from openai import AsyncOpenAI
from pictures import region
from verifiers.clients import Client, OpenAIChatCompletionsClient
from verifiers.types import Response, ResponseMessage, ToolCall

logging.disable(logging.WARNING)


def data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def asking(client: Any, prompt_image: str, look: Any) -> Ask:
    """Its loop, over one prompt and one tool."""
    image = {"type": "image_url", "image_url": {"url": prompt_image}}
    prompt = [{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}]
    env = vf.ToolEnv(
        tools=[look],
        dataset=Dataset.from_list([{"question": QUESTION, "answer": "7"}]),
        rubric=vf.Rubric(),
        max_turns=4,
    )
    row: Any = {"prompt": prompt, "answer": "7", "example_id": 0}

    async def ask() -> None:
        state = await env.rollout(row, client, "m")
        assert state.get("error") is None, state["error"]
        assert "7</answer>" in str(state["completion"][-1].content)
        assert len(state["completion"]) == 3

    return ask


class AtOnce(Client[None, Any, Response, Any]):
    """A client whose model calls the tool, and answers when it has seen what came of it."""

    def __init__(self) -> None:
        super().__init__(None)

    def setup_client(self, config: Any) -> None: ...

    async def close(self) -> None: ...

    async def to_native_tool(self, tool: Any) -> Any:
        return tool

    async def to_native_prompt(self, messages: Any) -> tuple[Any, dict[str, Any]]:
        return messages, {}

    async def get_native_response(self, prompt: Any, model: str, *_: Any, **__: Any) -> Response:
        said = any(message.role == "assistant" for message in prompt)
        calls = None if said else [ToolCall(id="call_1", name="look", arguments=json.dumps({"bbox_2d": BOX}))]
        message = ResponseMessage(
            role="assistant",
            content=ANSWER if said else None,
            tool_calls=calls,
            finish_reason="stop" if said else "tool_calls",
            is_truncated=False,
            tokens=None,
        )
        return Response(id="r", created=0, model=model, usage=None, message=message)

    async def raise_from_native_response(self, response: Response) -> None: ...

    async def from_native_response(self, response: Response) -> Response:
        return response


def theirs_in_process(path: Path) -> Ask:
    uri = data_uri(path.read_bytes(), "png")

    async def look(bbox_2d: list[int]) -> list[dict[str, Any]]:  # noqa: ARG001
        """Cut out a region of the image and see it at full detail."""
        return [{"type": "image_url", "image_url": {"url": uri}}]

    return asking(AtOnce(), uri, look)


def theirs_over_http(path: Path, url: str) -> Ask:
    async def look(bbox_2d: list[int]) -> list[dict[str, Any]]:
        """Cut out a region of the image and see it at full detail."""
        return [{"type": "image_url", "image_url": {"url": data_uri(region(path, bbox_2d), "jpeg")}}]

    client = OpenAIChatCompletionsClient(AsyncOpenAI(base_url=url, api_key="none"))
    return asking(client, data_uri(path.read_bytes(), "jpeg"), look)


async def measure(tiny: bool) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        row = await in_process(Path(folder), theirs_in_process, tiny)
        note = "its prompt is encoded before the clock starts"
        rows = await over_http(Path(folder), theirs_over_http, "look", {"bbox_2d": BOX}, tiny, note)
    return Measured([row, *rows])


if __name__ == "__main__":
    main("verifiers", measure)
