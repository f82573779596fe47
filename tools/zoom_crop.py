"""`zoom_crop`: a region at full detail."""

from agentic_vision.tool import visual_tool
from agentic_vision.view import Box, View

SMALLEST = 4  # source pixels: of fewer, however much enlarged, nobody recognises anything


@visual_tool
def zoom_crop(view: View, bbox_2d: Box) -> View:
    """Cut out a region of the image and see it at full detail, for something that is too small to make out.

    Args:
        bbox_2d: The region, with a little room around what you look for.
    """
    return view.crop(_at_least(bbox_2d, SMALLEST, view.source_size))


def _at_least(box: Box, side: float, size: tuple[int, int]) -> Box:
    """`box`, its sides lengthened to `side` around its centre as far as the picture of `size` allows."""
    x0, x1 = _lengthened(box.x0, box.x1, side, size[0])
    y0, y1 = _lengthened(box.y0, box.y1, side, size[1])
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _lengthened(start: float, end: float, least: float, limit: float) -> tuple[float, float]:
    if end - start >= least:
        return start, end
    least = min(least, limit)
    start = min(max((start + end - least) / 2, 0), limit - least)
    return start, start + least
