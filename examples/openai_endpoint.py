"""Puts the agent in front of an OpenAI-compatible endpoint.

python examples/openai_endpoint.py [MODEL BASE_URL]      # the key in OPENAI_API_KEY

Without arguments an endpoint is started here: `agentic-vision serve --raw`, the checkpoint that ships as a bare model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from served import served

from agentic_vision import VisionAgent

RECEIPT = Path(__file__).with_name("receipt.png")


def ask(model: str, base_url: str, api_key: str | None = None) -> None:
    agent = VisionAgent(model, base_url=base_url, api_key=api_key)
    result = agent.ask(RECEIPT, "What is the total?")
    print(result.answer or f"no answer: {result.trajectory.detail}")
    print(f"{result.usage.visual_tokens} visual tokens instead of {result.usage.full_resolution_tokens}")
    print(f"{result.usage.requests} requests, {result.usage.input_tokens} tokens in, {result.usage.output_tokens} out")


if len(sys.argv) > 2:
    ask(sys.argv[1], sys.argv[2])
else:
    with served("--raw", "--model", "embedded") as base_url:
        ask("embedded", base_url, api_key="none")
