"""What a checkpoint was trained for, where its folder says so: `agentic_vision.json`, written by training.

`TransformersPolicy.load` then needs to be told nothing: trained is what is served.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ConfigError
from ..policy import PromptStyle

FILE = "agentic_vision.json"


class TrainedFor(BaseModel):
    """`family`: a name of `visual_tokens.FAMILIES`; None reads it from the checkpoint."""

    model_config = ConfigDict(frozen=True)

    style: PromptStyle = PromptStyle.TEXT
    family: str | None = None
    max_new_tokens: int = 256

    @classmethod
    def read(cls, name_or_path: str | os.PathLike[str]) -> TrainedFor:
        """What the folder says; the defaults where it is silent, or none. Raises `ConfigError` for a broken file."""
        path = Path(name_or_path) / FILE
        if not os.path.isfile(path):
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ConfigError(
                f"{path} is broken ({error.errors()[0]['msg'].lower()}): delete it, or train again"
            ) from error

    def write(self, folder: Path) -> None:
        """Puts it into a checkpoint's folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
