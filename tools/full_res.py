"""`full_res`: the whole image at full resolution."""

from agentic_vision.tool import visual_tool
from agentic_vision.view import Box, View


@visual_tool
def full_res(view: View) -> View:
    """See the whole image at full resolution, for details that are spread over all of it."""
    width, height = view.source_size
    return view.crop(Box(x0=0, y0=0, x1=width, y1=height))
