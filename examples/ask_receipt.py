"""Asks the embedded checkpoint about a receipt, and tells what it looked at and what that saved.

python examples/ask_receipt.py [QUESTION]
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentic_vision import VisionAgent

RECEIPT = Path(__file__).with_name("receipt.png")

agent = VisionAgent()
result = agent.ask(RECEIPT, sys.argv[1] if len(sys.argv) > 1 else "What is the total?")

print(result.answer or f"no answer: {result.stop_reason}")
for number, view in enumerate(result.trajectory.views, 1):
    print(f"  image {number}: {view.size[0]} x {view.size[1]} pixels of {view.box.as_tuple()}")
print(f"{result.usage.visual_tokens} visual tokens instead of {result.usage.full_resolution_tokens}")
