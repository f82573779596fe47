"""Starts the server, and asks it with the `openai` package: a client whose code knows nothing of the agent.

python examples/serve_and_ask.py
"""

from __future__ import annotations

import base64
from pathlib import Path

import openai
from served import served

RECEIPT = Path(__file__).with_name("receipt.png")
uri = f"data:image/png;base64,{base64.b64encode(RECEIPT.read_bytes()).decode()}"

with served() as base_url:
    client = openai.OpenAI(base_url=base_url, api_key="none")
    stream = client.chat.completions.create(
        model="agentic-vision",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": uri}},
                    {"type": "text", "text": "What is the total?"},
                ],
            }
        ],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        for choice in chunk.choices:
            print((choice.delta.model_extra or {}).get("reasoning_content", ""), end="")
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage is not None:
            told = chunk.usage.model_extra or {}
            print(f"\n{told['visual_tokens']} visual tokens, {told['visual_tokens_saved']:.0%} saved")
