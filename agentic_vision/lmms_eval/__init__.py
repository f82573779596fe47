"""How does lmms-eval find the agent? By this manifest, through its entry-point group `lmms_eval.models`.

lmms-eval --model agentic_vision --model_args policy=run/policy,tools=zoom_crop+full_res --tasks ... (docs/lmms_eval.md)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest


def manifest() -> ModelManifest:
    """What lmms-eval loads at its start: the path of the class, which it imports only when it is asked for."""
    # Imported here: lmms_eval.models calls this while it is being imported itself.
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("agentic_vision", simple_class_path="agentic_vision.lmms_eval.model.AgenticVision")
