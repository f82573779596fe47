"""What answers when nobody names a model? The small checkpoint that ships with the package: no network, no
key.

It is a demonstration and a laboratory, not a product: its model card (`embedded_checkpoint/README.md`) says
what it was trained on and what it scores.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Self

from ..errors import ConfigError
from ..visual_tokens import family
from .trained_for import TrainedFor
from .transformers import TransformersPolicy, check_settings

if TYPE_CHECKING:
    import torch


class EmbeddedPolicy(TransformersPolicy):
    """The embedded checkpoint, told of its tools in the one line that it was trained on."""

    @classmethod
    def load(  # type: ignore[override]
        cls,
        *,
        device: str | torch.device | None = None,
        temperature: float = 0.0,
        max_batch: int = 16,
    ) -> Self:
        """Load the checkpoint, in float32. `device`, `temperature`, `max_batch`: as in
        `TransformersPolicy.load`. Raises `ConfigError` where the extra `local` is not installed, and for settings that
        cannot be.
        """
        check_settings(1, max_batch, temperature)
        from .weights import load_weights

        folder = resources.files("agentic_vision.policies") / "embedded_checkpoint"
        # A context: from a zipped install the files are unpacked, for as long as they are read.
        with resources.as_file(folder) as path:
            if not (path / "model.safetensors").is_file():
                raise ConfigError(
                    "the checkpoint that ships with the package is missing: install agentic-vision again, "
                    "or name a model of your own"
                )
            known = TrainedFor.read(path)
            weights = load_weights(str(path), device, "float32", small=True)
        return cls(
            weights,
            max_new_tokens=known.max_new_tokens,
            temperature=temperature,
            max_batch=max_batch,
            family=family(known.family) if known.family else None,
            style=known.style,
        )
