"""LangChain's `create_agent` with an image tool, and ours: a question about an image, one tool call, an answer.

In the process: a chat model class that answers at once. Over HTTP: `ChatOpenAI`; the image is sent as the file's bytes,
and the tool cuts the region out with Pillow and gives it back as an image content block.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

from asking import ANSWER, BOX, QUESTION, Ask, in_process, over_http
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from measuring import Measured, main
from pictures import region


def block(data: bytes, kind: str) -> dict[str, Any]:
    """LangChain's own content block for an image."""
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": f"image/{kind}"}


class AtOnce(BaseChatModel):
    """A chat model that calls the tool, and answers when it has seen what came of it."""

    @property
    def _llm_type(self) -> str:
        return "at-once"

    def bind_tools(self, tools: Any, **_: Any) -> Any:  # noqa: ARG002
        return self

    def _generate(self, messages: list[Any], *_: Any, **__: Any) -> ChatResult:
        said = any(isinstance(message, AIMessage) for message in messages)
        call = {"name": "look", "args": {"bbox_2d": BOX}, "id": "call_1"}
        message = AIMessage(ANSWER) if said else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[Any], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)  # the default would cross to a thread and back


def asking(model: BaseChatModel, image: dict[str, Any], look: Any) -> Ask:
    """Its loop, over one image and one tool."""
    agent = create_agent(model, tools=[look])

    async def ask() -> None:
        message = HumanMessage([image, {"type": "text", "text": QUESTION}])
        messages = (await agent.ainvoke({"messages": [message]}))["messages"]
        assert "7</answer>" in str(messages[-1].content)
        assert len(messages) == 4

    return ask


def theirs_in_process(path: Path) -> Ask:
    image = block(path.read_bytes(), "png")

    @tool
    async def look(bbox_2d: list[int]) -> list[dict[str, Any]]:  # noqa: ARG001
        """Cut out a region of the image and see it at full detail."""
        return [image]

    return asking(AtOnce(), image, look)


def theirs_over_http(path: Path, url: str) -> Ask:
    @tool
    async def look(bbox_2d: list[int]) -> list[dict[str, Any]]:
        """Cut out a region of the image and see it at full detail."""
        return [block(region(path, bbox_2d), "jpeg")]

    model = ChatOpenAI(model="m", base_url=url, api_key="none")  # type: ignore[arg-type]
    return asking(model, block(path.read_bytes(), "jpeg"), look)


async def measure(tiny: bool) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        row = await in_process(Path(folder), theirs_in_process, tiny)
        note = "its prompt is encoded before the clock starts"
        rows = await over_http(Path(folder), theirs_over_http, "look", {"bbox_2d": BOX}, tiny, note)
    return Measured([row, *rows])


if __name__ == "__main__":
    main("langchain", measure)
