"""The sweeps that `agentic-vision sweep` knows by name."""
