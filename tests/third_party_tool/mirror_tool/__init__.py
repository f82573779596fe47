"""A tool from outside: found by name through its entry point, as the built-in tools are."""

from agentic_vision import View, visual_tool


@visual_tool
def upside_down(view: View) -> View:
    """Turn the image by 180 degrees, for text that stands on its head."""
    return view.rotated(180)
