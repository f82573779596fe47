"""What a visitor may ask, and of which picture."""

from __future__ import annotations

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from ..errors import ConfigError, ImageError
from ..image_limits import ImageLimits
from ..source import Source
from .examples import EXAMPLES

MOST_QUESTION = 10_000  # characters


def most_bytes() -> int:
    """Of a request: a picture that is let in, as base64, and some words."""
    return ImageLimits.current().max_image_bytes // 3 * 4 + 2**20


class PageQuestion(BaseModel):
    """A question of the page. `picture`: a file's bytes in base64, or else `example`, the name of one of ours.

    `tools`: those that the model may call. `compare`: the same question at full resolution as well, without tools.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(max_length=MOST_QUESTION)
    tools: tuple[str, ...] = ()
    compare: bool = False
    picture: Base64Bytes | None = None
    example: str | None = None
    name: str = Field(default="picture", max_length=1000)

    def source(self) -> Source:
        """The picture, its header read. Raises `ImageError` for what is none, `ConfigError` where there is none."""
        if self.picture is not None:
            ImageLimits.current().check_bytes(self.name, len(self.picture))
            return Source(self.name, self.picture)
        if self.example is None:
            raise ConfigError("there is no picture: drop one, or choose an example")
        if self.example not in EXAMPLES:
            raise ImageError(f"there is no example {self.example!r}: choose one of {', '.join(EXAMPLES)}")
        return Source(f"{self.example}.png", EXAMPLES[self.example].png)
