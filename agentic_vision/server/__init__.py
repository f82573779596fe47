"""The agent behind OpenAI's Chat Completions, for any client: `agentic-vision serve`. Needs the extra [serve]."""
