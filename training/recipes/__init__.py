"""The recipes that `agentic-vision train` knows by name, and their rewards."""
