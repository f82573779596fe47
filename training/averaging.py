"""The policy between where training began and where it ended: reinforcement learning moves more than the decision.

Weight averaging as in WiSE-FT (arXiv 2109.01903) and WARP (arXiv 2406.16768): along the line to the start, what was
learnt keeps its effect for a while, and what was lost by the way comes back.
"""

from __future__ import annotations

from pathlib import Path

from agentic_vision.policies.torchvision_ops import declare_operators


def average(start: str, trained: Path, share: float) -> None:
    """Makes the weights in `trained` `share` of their own and the rest of those of `start`, in their own precision.

    `start`: a checkpoint folder or a name on the hub, of the same shape.
    """
    import torch
    from safetensors import safe_open

    declare_operators()
    from transformers import AutoModelForImageTextToText

    from agentic_vision.policies.weights import quiet_transformers

    # verl writes float32 weights beside a config.json that names another type.
    with safe_open(next(trained.glob("*.safetensors")), framework="pt") as stored:
        dtype = stored.get_tensor(next(iter(stored.keys()))).dtype
    with quiet_transformers():
        ended = AutoModelForImageTextToText.from_pretrained(trained, dtype=dtype)
        begun = AutoModelForImageTextToText.from_pretrained(start, dtype="auto").state_dict()
        with torch.no_grad():
            for name, weight in ended.named_parameters():  # tied weights once
                weight.copy_(torch.lerp(begun[name].float(), weight.float(), share))
        ended.save_pretrained(trained)
