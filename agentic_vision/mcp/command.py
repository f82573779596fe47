"""`agentic-vision mcp`: the visual tools and the agent, for any MCP client."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..cli_options import (
    AllowUrlsOption,
    BaseUrlOption,
    PolicyOption,
    PortOption,
    TurnsOption,
    checked_endpoint,
    chosen_tools,
    make_agent,
)
from ..errors import ConfigError
from ..listening import bound, serve, url
from ..url_rules import UrlRules

mcp = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@mcp.command()
def run(
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            show_default="the current folder",
            help="A folder whose images may be read; repeat it for several.",
        ),
    ] = None,
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            show_default="zoom_crop,full_res,resize",
            help="Tools that the client may call, beside glance and ask; '' for none.",
        ),
    ] = None,
    max_turns: TurnsOption = 4,
    family: Annotated[
        str, typer.Option(help="The family of the client's model: what its visual tokens are, and its largest image.")
    ] = "qwen3-vl",
    allow_urls: AllowUrlsOption = False,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP, not stdin and stdout.")] = False,
    host: Annotated[
        str, typer.Option(help="With --http. There are no keys: whoever reaches it may look at the images.")
    ] = "127.0.0.1",
    port: PortOption = 8081,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --http: a name by which other machines call it; repeat it."),
    ] = None,
) -> None:
    """Give an MCP client eyes: glance at an image, look closer, or have a question answered.

    Example: agentic-vision mcp --root ~/Pictures
    """
    try:
        from .server import create_server
    except ImportError as error:
        raise ConfigError.missing_extra("mcp", "the MCP server") from error
    from ..toolbox import Toolbox
    from ..visual_tokens import family as family_named
    from .roots import Roots

    here = Path().absolute()
    if not root and here == here.parent:  # where some clients start their servers
        raise ConfigError(f"{here} would let the client read every image of this machine: say which, --root DIR")
    checked_endpoint(policy, base_url)  # told now, and not with the first question
    # Not with the client's tools: a trained policy knows its own, and answers worse where it is told of others.
    make = partial(make_agent, policy, base_url, None, max_turns=max_turns, max_visual_tokens=None)
    with contextlib.redirect_stdout(sys.stderr):  # a module of tools may print, and a client reads what is on stdout
        toolbox = Toolbox.of(chosen_tools(tools))
    roots = Roots(root or [here], UrlRules() if allow_urls else None)
    server = create_server(toolbox, family_named(family), roots, make, max_turns)
    if not http:
        import anyio
        from mcp.server.stdio import stdio_server

        async def talk() -> None:
            async with stdio_server() as (reads, writes):
                await server.run(reads, writes, server.create_initialization_options())

        anyio.run(talk)
        return

    from .http import MOST_CONNECTIONS, PATH, create_app

    socket = bound(host, port)
    app = create_app(server, [host, *(allow_host or ())])
    told = f"agentic-vision serves MCP on {url(socket)}{PATH}"
    serve(app, socket, told, drain=5, most=MOST_CONNECTIONS)
