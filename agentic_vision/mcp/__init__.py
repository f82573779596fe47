"""The visual tools and the agent, for any MCP client: `agentic-vision mcp`. Needs the extra [mcp]."""
