"""How the embedded checkpoint learns from nothing: first to tell what stands in every cell, then to answer and to call.

Run it with `python -m agentic_vision.training.warm_start OUT`.
"""

from agentic_vision.policies.torchvision_ops import declare_operators

declare_operators()  # before transformers is imported
