"""How the embedded checkpoint learns from nothing: first to tell what stands in every cell, then to answer and to call.

Run it with `python -m agentic_vision.training.warm_start OUT`.
"""
