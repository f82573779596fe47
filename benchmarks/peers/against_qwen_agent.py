"""Qwen-Agent's loop and ours: a question about an image, one tool call, an answer.

In the process: `FnCallAgent` with a model class that answers at once. Over HTTP: its model type for Qwen-VL behind an
OpenAI-compatible endpoint, and the zoom tool that it ships for Qwen3-VL.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asking import ANSWER, BOX, QUESTION, Ask, in_process, over_http
from measuring import Measured, main

WORK = tempfile.TemporaryDirectory()
os.environ["QWEN_AGENT_DEFAULT_WORKSPACE"] = WORK.name  # where its zoom tool leaves its crops

from qwen_agent.agents import FnCallAgent  # noqa: E402
from qwen_agent.llm.function_calling import BaseFnCallModel  # noqa: E402
from qwen_agent.llm.schema import ASSISTANT, ContentItem, Message  # noqa: E402
from qwen_agent.tools.base import BaseTool  # noqa: E402

logging.getLogger("qwen_agent_logger").setLevel(logging.ERROR)
CALL = f'<tool_call>\n{{"name": "look", "arguments": {{"bbox_2d": {BOX}}}}}\n</tool_call>'


class AtOnce(BaseFnCallModel):
    """A model that calls the tool, and answers when it has seen what came of it."""

    @property
    def support_multimodal_input(self) -> bool:
        return True

    def _chat_stream(self, messages: list[Message], **_: Any) -> Iterator[list[Message]]:
        yield self._chat_no_stream(messages)

    def _chat_no_stream(self, messages: list[Message], **_: Any) -> list[Message]:
        said = any(message.role == ASSISTANT for message in messages)
        return [Message(role=ASSISTANT, content=ANSWER if said else CALL)]


class Look(BaseTool):
    """A tool that gives back an image that is there already."""

    name = "look"
    description = "Cut out a region of the image and see it at full detail."
    parameters = {  # noqa: RUF012 (as the base class has it)
        "type": "object",
        "properties": {"bbox_2d": {"type": "array", "items": {"type": "number"}}},
        "required": ["bbox_2d"],
    }

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def call(self, params: str | dict[str, Any], **_: Any) -> list[ContentItem]:
        self._verify_json_format_args(params)
        return [ContentItem(image=str(self.path))]


def asking(agent: FnCallAgent, path: Path) -> Ask:
    messages = [{"role": "user", "content": [{"image": str(path)}, {"text": QUESTION}]}]

    def ask() -> None:
        last = agent.run_nonstream(messages=messages)
        assert "7</answer>" in str(last[-1]["content"])
        assert len(last) == 3

    return ask


def theirs_in_process(path: Path) -> Ask:
    return asking(FnCallAgent(function_list=[Look(path)], llm=AtOnce({"model": "at-once"})), path)


def theirs_over_http(path: Path, url: str) -> Ask:
    model = {"model": "qwen3-vl-8b", "model_type": "qwenvl_oai", "model_server": url, "api_key": "none"}
    return asking(FnCallAgent(function_list=["image_zoom_in_tool"], llm=model), path)


async def measure(tiny: bool) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        row = await in_process(Path(folder), theirs_in_process, tiny)
        arguments = {"bbox_2d": BOX, "label": "digit", "img_idx": 0}
        rows = await over_http(Path(folder), theirs_over_http, "image_zoom_in_tool", arguments, tiny)
    return Measured([row, *rows])


if __name__ == "__main__":
    main("qwen-agent", measure)
