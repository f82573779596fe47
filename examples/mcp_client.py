"""An MCP client: it starts the server, glances at a receipt, looks closer at its lower half, and asks for the total.

python examples/mcp_client.py

Other clients start the same server: `agentic-vision mcp --root FOLDER`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

HERE = Path(__file__).parent
# The receipt is small: counted in the visual tokens of the checkpoint that we ship, there is something to save.
SERVER = ["-m", "agentic_vision", "mcp", "--root", str(HERE), "--family", "pocket"]


async def main() -> None:
    async with Client(StdioServerParameters(command=sys.executable, args=SERVER)) as client:

        async def call(tool: str, **arguments: Any) -> CallToolResult:
            result = await client.call_tool(tool, arguments)
            print(f"{tool}:", *(part.text for part in result.content if isinstance(part, TextContent)))
            return result

        print("tools:", *(tool.name for tool in (await client.list_tools()).tools))
        await call("glance", image="receipt.png")
        await call("zoom_crop", image="view 1", bbox_2d=[0, 500, 1000, 1000])
        answered = await call("ask", images=["receipt.png"], question="What is the total?")
        told = answered.structured_content
        print(f"{told['visual_tokens']} visual tokens instead of {told['full_resolution_tokens']}")


asyncio.run(main())
