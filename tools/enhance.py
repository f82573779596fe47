"""`enhance`: the image with another contrast."""

from typing import Annotated

from pydantic import Field

from agentic_vision.tool import visual_tool
from agentic_vision.view import View


@visual_tool
def enhance(view: View, contrast: Annotated[float, Field(ge=0.2, le=8)] = 2.0) -> View:
    """Change the contrast of the image, for something that is faint or washed out.

    Args:
        contrast: 2 is twice as strong as in the picture, 0.5 half as strong.
    """
    return view.enhanced(contrast)
