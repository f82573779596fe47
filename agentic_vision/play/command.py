"""`agentic-vision play`: a page on which one watches the agent look."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_options import BaseUrlOption, PolicyOption, TokensOption, TurnsOption, make_agent
from ..errors import ConfigError
from ..listening import BACKLOG, bound

LOCAL = ("127.0.0.1", "localhost", "::1")

play = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@play.command()
def run(
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            show_default="zoom_crop,full_res,resize",
            help="Tools that are ticked at first; '' for none.",
        ),
    ] = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    seed: Annotated[int, typer.Option(help="Fixes what is drawn by chance.")] = 0,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 shows it to other machines: whoever reaches the page may ask.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and says which.")] = 7860,
) -> None:
    """Watch the agent look: a page to drop a picture on and ask, which shows every step as it comes.

    Example: agentic-vision play --port 7860
    """
    try:
        import uvicorn

        from .app import create_app
    except ImportError as error:
        raise ConfigError.missing_extra("play", "the page") from error

    socket = bound(host, port)
    agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens, seed=seed)
    app = create_app(agent, policy or "the small checkpoint in this package", LOCAL if host in LOCAL else ())
    config = uvicorn.Config(
        app,
        http="h11",  # the one that bounds the headers of a request
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=0,  # Ctrl-C: who watches knows
    )
    socket.listen(BACKLOG)  # whoever reads the address may open it at once, and waits for the rest of the start
    address = socket.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    typer.echo(f"agentic-vision plays on http://{shown}:{address[1]}/ (Ctrl-C ends it)", err=True)
    uvicorn.Server(config).run([socket])
