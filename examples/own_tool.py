"""A visual tool of your own: a typed function with a docstring. Here a script plays the model that calls it.

python examples/own_tool.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agentic_vision import Box, View, VisionAgent, visual_tool
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write


@visual_tool
def half(view: View, which: Literal["top", "bottom"]) -> View:
    """See one half of the image at full detail, for long pages such as receipts."""
    width, height = view.source_size
    top = 0 if which == "top" else height / 2
    return view.crop(Box(x0=0, y0=top, x1=width, y1=top + height / 2))


model = ScriptedPolicy(
    [
        write(thought="A total stands at the bottom.", calls=[("half", {"which": "bottom"})]),
        write(answer="25.15"),
    ]
)
agent = VisionAgent(model, tools=["zoom_crop", half])
result = agent.ask(Path(__file__).with_name("receipt.png"), "What is the total?")

for call, view in zip(result.trajectory.calls, result.trajectory.views[1:], strict=True):
    print(f"{call.name}({call.arguments}) showed {view.box.as_tuple()}")
print(result.answer)
