"""`resize`: the whole image at the next resolution up."""

from agentic_vision.errors import ToolError
from agentic_vision.tool import ToolContext, visual_tool
from agentic_vision.view import Box, View


@visual_tool
def resize(view: View, context: ToolContext) -> View:
    """See the whole image again at the next resolution up, when all of it is a little too coarse."""
    # Up from the best look at the whole so far, not from `view`, which may be a crop: a second call goes on
    # from the first. Twice the visual tokens is a step of sqrt(2) along each side.
    family, (width, height) = context.family, view.source_size
    whole = view.crop(Box(x0=0, y0=0, x1=width, y1=height))
    full = family.full(whole.size)
    wholes = [shown for shown in context.views if shown.is_whole and shown.source == view.source]
    seen = max((family.tokens(shown.size) for shown in wholes), default=0)
    if seen >= family.tokens(full):
        raise ToolError("the whole image was shown at full resolution already", hint="zoom in, or answer")
    larger = family.at_most(whole.size, 2 * seen)
    return whole.resized(larger if family.tokens(larger) > seen else full)
