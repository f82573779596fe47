"""A page on this machine on which one watches the agent look: `agentic-vision play`."""
