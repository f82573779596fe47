"""An agent whose model is behind an endpoint: what the tests of endpoints share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from agentic_vision import VisionAgent
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.policy import Conversation, ImagePart, Message, TextPart
from agentic_vision.result import Result
from agentic_vision.source import Source
from agentic_vision.view import View

RECEIPT = Path(__file__).parent.parent / "examples" / "receipt.png"
NATIVE = {"family": "qwen3-vl", "calls": "native"}
TEXT = {"family": "qwen3-vl", "calls": "text"}


def policy(url: str, profile: Any = TEXT, **options: Any) -> OpenAIPolicy:
    return OpenAIPolicy("m", base_url=url, api_key="k", profile=profile, **{"patience": 0.0, **options})


def ask(
    url: str,
    picture: Image.Image,
    profile: Any = TEXT,
    *,
    question: str = "Which number?",
    options: dict[str, Any] | None = None,
    **policy_options: Any,
) -> Result:
    agent = VisionAgent(policy(url, profile, **policy_options), **(options or {}))
    return agent.ask(picture, question)


def conversation(picture: Image.Image) -> Conversation:
    """One question about the picture, for a policy without the loop."""
    shown = ImagePart(view=View.whole(picture.size), source=Source.open(picture))
    return Conversation(id="c", messages=(Message(role="user", parts=(shown, TextPart(text="Which number?"))),))
