"""`rotate`: the image turned."""

from typing import Literal

from agentic_vision.tool import visual_tool
from agentic_vision.view import View


@visual_tool
def rotate(view: View, degrees: Literal[90, 180, 270]) -> View:
    """Turn the image clockwise, for text that is sideways or upside down."""
    return view.rotated(degrees)
