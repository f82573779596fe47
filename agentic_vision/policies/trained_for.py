"""What a checkpoint was trained for, where its folder, or the hub, says so: `agentic_vision.json`, written by training.

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

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: PromptStyle = PromptStyle.TEXT
    family: str | None = None
    max_new_tokens: int = 256

    @classmethod
    def read(cls, name_or_path: str | os.PathLike[str]) -> TrainedFor:
        """What the folder, or the checkpoint of that name on the hub, says; the defaults where it is silent.

        Raises `ConfigError` for a broken file.
        """
        if os.path.isdir(name_or_path):
            path: Path | None = Path(name_or_path) / FILE
        else:
            from .weights import hub_file

            path = hub_file(str(name_or_path), FILE)
        if path is None or not path.is_file():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            field = "".join(f"{name}: " for name in wrong["loc"])
            raise ConfigError(f"{path} is broken ({field}{wrong['msg'].lower()}): delete it, or train again") from error

    def write(self, folder: Path) -> None:
        """Puts it into a checkpoint's folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
