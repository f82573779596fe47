"""The MCP server: which tools it lists, who calls them, and how an error comes back.

What is wrong with a call is the call's result (`isError`), which the client's model reads; nothing ends the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from .. import __version__
from ..errors import AgenticVisionError, ConfigError
from ..toolbox import Toolbox
from ..visual_tokens import Family
from .ask_tool import ASK, AskTool
from .look_tools import LookTools
from .results import failed
from .roots import Roots

if TYPE_CHECKING:
    from ..agent import VisionAgent

STDIO = "stdio"  # the one client of a process that is talked to through its pipes

_INSTRUCTIONS = (
    "Look at an image with `glance` first: that costs a quarter of its visual tokens, and often suffices. Every image "
    "that you are shown is a view with a name; the other tools look closer at it. Boxes are [x0, y0, x1, y1] from 0 to "
    "1000 along either side of the view that is looked at. `ask` answers a question without showing you anything."
)
_log = logging.getLogger(__name__)

Context = ServerRequestContext[dict[str, Any], Request]


def create_server(
    toolbox: Toolbox, family: Family, roots: Roots, make: Callable[[], VisionAgent], max_turns: int
) -> Server[dict[str, Any]]:
    """A server of the official SDK, to be run over any of its transports. `make` gives the agent that answers `ask`.

    Raises `ConfigError` where a visual tool has the name of another tool.
    """
    if ASK in toolbox.names:
        raise ConfigError(f"a visual tool is called {ASK}, as the agent is: leave it out of --tools")
    looking = LookTools(toolbox, family, roots)
    asking = AskTool(make, roots, max_turns)

    async def tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[*looking.tools, asking.tool])

    async def call(context: Context, params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        try:
            if params.name == ASK:
                return await asking.call(arguments, context.session.report_progress)
            return await looking.call(_client(context), params.name, arguments)
        except AgenticVisionError as error:
            return failed(str(error))
        except Exception as error:
            _log.exception("%s failed", params.name[:100])
            return failed(
                f"{params.name} failed ({type(error).__name__}): the server's log says more. Try another tool."
            )

    return Server(
        "agentic-vision", version=__version__, instructions=_INSTRUCTIONS, on_list_tools=tools, on_call_tool=call
    )


def _client(context: Context) -> str | None:
    """Whose views these are: the session's id, and None for a client over HTTP that has no session."""
    if context.request is None:
        return STDIO
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:  # in which a header with that name means nothing
        return None
    return context.request.headers.get("mcp-session-id")
